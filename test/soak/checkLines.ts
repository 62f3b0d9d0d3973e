import type { Known, Results, View } from './ledger.ts';
import { type AskedLine, type Endpoint, FATES, SUCCEEDING } from './lines.ts';
import type { Asked, ModelBooks } from './model.ts';
import { hold, holdSame } from './violation.ts';

export type Tally = { lines: number; output: number; errors: number; byCode: Map<string, number> };

type ResultLine = {
  id: string;
  custom_id: string | null;
  line?: number;
  response: { status_code: number; body: unknown } | null;
  error?: { code: string; message: string };
  attempts?: number;
};

/** What else the ends of lines are judged by. */
export type Witness = Pick<ModelBooks, 'asked'> & {
  /** The longest pause before another try, and then some: a try that would come after the window's end is none. */
  windowShadowMs: number;
  /** What was done to the batch that lines of it may end as `processing_failed` for. */
  harmDone(batchId: string): { workersDied: boolean; partsDeleted: boolean };
};

/** What the errors file says of a line whose committed result is not there; else its workers died of it. */
const LOST_RESULT = 'The result of this line was lost.';
const MAX_ATTEMPTS = 5;
/** Attempts that a line must have used up by itself: where an outage begins or ends, a fault of it may count. */
const LEAST_OF_ITS_OWN = MAX_ATTEMPTS - 2;

/** The lines of one file; throws where it is not JSONL. */
export function linesOf(id: string, file: Buffer | undefined): string[] {
  if (file === undefined) return [];
  const text = file.toString('utf8');
  hold(text.endsWith('\n'), id, () => 'A result file does not end with a newline');
  return text.slice(0, -1).split('\n');
}

/**
 * Every line that was asked is in exactly one file, in order, with the right id and an end that fits its fate, the
 * batch's end and what the model was asked. Answers where each line is.
 */
export function checkLines(
  known: Known,
  view: View,
  files: { output: Buffer | undefined; errors: Buffer | undefined },
  model: Witness,
  tally: Tally,
): Results {
  const { id } = known;
  const byCustomId = new Map<string, number>();
  for (const { line, customId } of known.lines) if (customId !== null) byCustomId.set(customId, line);
  for (const [line, { text }] of known.kept) byCustomId.set(String(parse(id, text).custom_id), line);
  const asked = new Map(known.lines.map((line) => [line.line, line]));
  const results: Results = new Map();

  for (const file of ['output', 'errors'] as const) {
    let before = 0;
    for (const text of linesOf(id, files[file])) {
      const result = parse(id, text);
      const line = file === 'errors' ? result.line : byCustomId.get(String(result.custom_id));
      hold(line !== undefined, id, () => `${file} has a line that nobody asked: ${text}`);
      hold(!results.has(line), id, () => `Line ${line} has two results, the second in ${file}: ${text}`);
      hold(line > before, id, () => `Line ${line} comes after line ${before} in ${file}`);
      before = line;
      results.set(line, { file, text });
      const own = asked.get(line);
      if (own === undefined) {
        const kept = known.kept.get(line);
        hold(kept !== undefined && file === 'output', id, () => `${file} has line ${line}, which is not of this batch`);
        hold(
          text === kept.text,
          id,
          () => `Line ${line} is kept from another batch as ${text}, there it was ${kept.text}`,
        );
      } else if (file === 'output') checkOutput(known, own, result, model);
      else checkError(known, view, own, result, model, tally);
    }
  }
  if (view.in_progress_at !== null) {
    for (const line of [...asked.keys(), ...known.kept.keys()])
      hold(results.has(line), id, () => `Line ${line} of ${asked.size + known.kept.size} is in neither file`);
  } else if (!known.isRetry) {
    for (const own of known.lines)
      hold('badCode' in own || !model.asked(own.prompt), id, () => `It never ran, and a model got line ${own.line}`);
  }
  tally.lines += results.size;
  for (const { file } of results.values()) tally[file]++;
  return results;
}

function parse(id: string, text: string): ResultLine {
  try {
    return JSON.parse(text) as ResultLine;
  } catch (error) {
    hold(false, id, () => `A result line is no JSON (${String(error)}): ${text}`);
  }
}

function checkOutput({ id }: Known, own: AskedLine, result: ResultLine, model: Witness): void {
  const where = `Line ${own.line}`;
  holdSame(Object.keys(result), ['id', 'custom_id', 'response'], id, `${where} of the output has the fields`);
  hold(!('badCode' in own), id, () => `${where} is bad and is in the output`);
  holdSame([result.custom_id, result.id], [own.customId, `${id}_${own.customId}`], id, `${where} has the ids`);
  hold(SUCCEEDING.includes(own.fate) || own.fate === 'healing', id, () => `${where} is ${own.fate}, and in the output`);
  hold(result.response?.status_code === 200, id, () => `${where} was answered with ${result.response?.status_code}`);
  if (own.fate === 'ready') {
    hold(model.asked(own.prompt) === undefined, id, () => `${where} needs no model, and one was asked`);
    return;
  }
  const asked = model.asked(own.prompt);
  const serial = serialOf(own.endpoint, result.response.body, own.prompt);
  hold(serial !== undefined, id, () => `${where} has an answer to another prompt: ${JSON.stringify(result.response)}`);
  hold(asked?.serials.has(serial) === true, id, () => `${where} has the answer ${serial}, which no model has given it`);
}

/** The number of the answer that a line holds; undefined where it is not an answer to that prompt. */
function serialOf(endpoint: Endpoint, body: unknown, prompt: string): number | undefined {
  const embedding = (values: number[]) => (values[1] === Number(prompt.split('/')[1]) ? values[0] : undefined);
  const ofText = (text: string) => {
    const [told, serial] = text.split(' #');
    return told === prompt ? Number(serial) : undefined;
  };
  try {
    // A body of another shape makes one of these throw a TypeError.
    const at = body as {
      success: boolean;
      data: string & { vectors: [{ values: number[] }] } & [{ embedding: number[] }];
      choices: [{ text: string; message: { content: string } }];
      output: [{ content: [{ text: string }] }];
    };
    switch (endpoint) {
      case 'agent':
        return at.success ? ofText(at.data) : undefined;
      case 'chat':
        return ofText(at.choices[0].message.content);
      case 'completions':
        return ofText(at.choices[0].text);
      case 'responses':
        return ofText(at.output[0].content[0].text);
      case 'vectors':
        return embedding(at.data.vectors[0].values);
      case 'embeddings':
        return embedding(at.data[0].embedding);
    }
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

function checkError(
  { id, lines }: Known,
  view: View,
  own: AskedLine,
  result: ResultLine,
  model: Witness,
  tally: Tally,
): void {
  const where = `Line ${own.line}`;
  const keys = ['id', 'custom_id', 'line', 'response', 'error', 'attempts'];
  holdSame(Object.keys(result), keys, id, `${where} of the errors has the fields`);
  const code = result.error?.code ?? '';
  const ids = [own.customId, own.customId === null ? `${id}_line-${own.line}` : `${id}_${own.customId}`];
  holdSame([result.custom_id, result.id], ids, id, `${where} has the ids`);
  tally.byCode.set(code, (tally.byCode.get(code) ?? 0) + 1);
  if ('badCode' in own) {
    holdSame([code, result.response], [own.badCode, null], id, `${where}, a bad one, has`);
    return;
  }
  hold(
    view.in_progress_at !== null,
    id,
    () => `${where} is in the errors of a batch of ${lines.length} that never ran`,
  );
  const asked = model.asked(own.prompt);
  if (code === 'batch_cancelled' || code === 'batch_expired') {
    const end = view.status === 'cancelled' ? 'batch_cancelled' : view.status === 'expired' ? 'batch_expired' : '';
    hold(code === end, id, () => `${where} is ${code} in a batch that is ${view.status}`);
    hold(result.response === null, id, () => `${where} was not run, and has a response`);
    return;
  }
  if (code === 'processing_failed') {
    const { workersDied, partsDeleted } = model.harmDone(id);
    const wasLost = result.error?.message === LOST_RESULT;
    hold(wasLost ? partsDeleted : workersDied, id, () => `${where} is processing_failed: ${result.error?.message}`);
    return;
  }
  const endedAt = Date.parse(view.cancelling_at ?? view.finalizing_at ?? view.expires_at);
  const windowOver = endedAt > Date.parse(view.expires_at) - model.windowShadowMs;
  const why = reasonAgainst({ code, fate: own.fate, attempts: result.attempts ?? 0, windowOver, asked });
  hold(why === undefined, id, () => `${where}, ${own.fate}, ended as ${JSON.stringify(result)}, but ${why}`);
}

type FailedRun = {
  code: string;
  fate: keyof typeof FATES;
  attempts: number;
  /** The window was over, or so near its end that no other try was worth it. */
  windowOver: boolean;
  asked: Asked | undefined;
};

/** Why a line that was run cannot have ended so; undefined where it can. */
function reasonAgainst({ code, fate, attempts, windowOver, asked }: FailedRun): string | undefined {
  if (asked === undefined) return 'no model was asked';
  if (attempts > asked.calls) return `the model was called ${asked.calls} times`;
  switch (code) {
    case 'model_error':
      if (!(FATES[fate] as readonly string[]).includes(code)) return 'it was not to be refused';
      return asked.refusals > 0 ? undefined : 'the model has not refused it';
    case 'invalid_response':
      return asked.garbled > 0 ? undefined : 'its answers are well-formed';
    case 'response_too_large':
      return asked.oversized > 0 ? undefined : 'its answers are small';
    case 'rate_limited':
      return asked.throttles > 0 && windowOver ? undefined : 'a throttled line goes on until the window ends';
    // Any line may meet a model that is down, but no line is given up before its attempts are used up.
    case 'model_unavailable':
    case 'model_timeout':
      if (attempts < MAX_ATTEMPTS && !windowOver) return 'it had attempts and time left';
      return asked.failures - asked.outageFailures >= LEAST_OF_ITS_OWN || windowOver
        ? undefined
        : 'its model was down as a whole';
    default:
      return 'there is no such end of a line that was run';
  }
}
