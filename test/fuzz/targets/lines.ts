import { createHash } from 'node:crypto';
import { VALIDATION_CODES } from '../../../shared/domain/errors.ts';
import { describeProblems } from '../../../shared/domain/lines/lineProblem.ts';
import { LineReader, type PhysicalLine } from '../../../shared/domain/lines/lineReader.ts';
import { type CheckedLine, checkLine } from '../../../shared/domain/lines/requestLine.ts';
import { errorLine } from '../../../shared/domain/lines/resultLine.ts';
import { createTokenEstimate } from '../../../shared/domain/retry/tokenEstimate.ts';
import { type PreparedLine, prepareLine } from '../../../shared/usecases/runShard/prepareLine.ts';
import { seededRandom } from '../../support/random.ts';
import { list } from '../json.ts';
import { elementsOf, memberOf, membersOf } from '../jsonSpans.ts';
import { fuzzModels } from '../models.ts';
import { LARGE_LINES } from '../recipes.ts';
import { requestLine } from '../requestLines.ts';
import { type FuzzTarget, promise, promiseSame } from '../target.ts';

/**
 * A file of JSON Lines → what is read of it, what is found wrong, and what goes to the model's server. However it is cut
 * into chunks, the lines are the same. A line has its one error, or its body goes on as it stands.
 */
const models = fuzzModels();
const MAX_LINE_BYTES = 2 * 1024 * 1024;
const SHORT_LINE_BYTES = 60;
/** Files up to here are read with a cut at each place. */
const MAX_CUT_EVERYWHERE = 200;

export const linesTarget = (): FuzzTarget => ({
  name: 'lines',
  make: (random) => {
    const end = random.pick(['\n', '\n', '\n', '\r\n', '\n\n', '\n \t\n']);
    const lines = list(random, 1, 3, () => requestLine(random));
    return Buffer.from((random.chance(0.1) ? '\ufeff' : '') + lines.join(end) + random.pick(['', end]));
  },
  recipes: LARGE_LINES,
  run(input) {
    const lines = readChecked(input, MAX_LINE_BYTES);
    readChecked(input, SHORT_LINE_BYTES);
    const outcomes = lines.flatMap((line) => [lineOutcome(line, 'COMPLETIONS'), lineOutcome(line, 'EMBEDDINGS')]);
    return [...new Set(outcomes)].sort().join(' ');
  },
});

/* ---------------------------------------------------------------- reading */

const LF = 0x0a;
const BLANK = new Set([0x20, 0x09, 0x0d]);

type Told = { line: number; start: number; end: number; terminated: boolean; content: string };

/** Byte for byte, as plain as can be. */
export function plainLines(input: Buffer, maxLineBytes: number): Told[] {
  const told: Told[] = [];
  let start = 0;
  for (let line = 1; start < input.length; line++) {
    const newline = input.indexOf(LF, start);
    const rawEnd = newline < 0 ? input.length : newline;
    const terminated = newline >= 0;
    const bom = start === 0 && input.subarray(0, Math.min(3, rawEnd)).toString('hex') === 'efbbbf' ? 3 : 0;
    const cr = rawEnd > start + bom && input[rawEnd - 1] === 0x0d ? 1 : 0;
    const text = input.subarray(start + bom, rawEnd - cr);
    if (rawEnd - start > maxLineBytes + 4) told.push({ line, start, end: rawEnd, terminated, content: 'too_long' });
    else if (!text.every((byte) => BLANK.has(byte)))
      told.push({
        ...{ line, start: start + bom, end: rawEnd - cr, terminated },
        content: text.length > maxLineBytes ? 'too_long' : text.toString('latin1'),
      });
    start = rawEnd + 1;
  }
  return told;
}

function readIn(chunks: Buffer[], maxLineBytes: number): { lines: PhysicalLine[]; told: Told[] } {
  const reader = new LineReader({ maxLineBytes });
  const lines = [...chunks.flatMap((chunk) => [...reader.push(chunk)]), ...reader.end()];
  const told = lines.map(({ line, start, end, terminated, content, ascii }) => {
    const latin1 = content === 'too_long' ? content : content.toString('latin1');
    promise(ascii === undefined || (ascii === latin1 && /^[\0-\x7f]*$/.test(ascii)), 'ascii is the content as text');
    return { line, start, end, terminated, content: latin1 };
  });
  return { lines, told };
}

function readChecked(input: Buffer, maxLineBytes: number): PhysicalLine[] {
  const wanted = JSON.stringify(plainLines(input, maxLineBytes));
  const whole = readIn([input], maxLineBytes);
  promiseSame(JSON.stringify(whole.told), wanted, 'lines of the whole file');
  for (const chunks of cutsOf(input))
    promiseSame(JSON.stringify(readIn(chunks, maxLineBytes).told), wanted, `lines of ${chunks.length} chunks`);
  return whole.lines;
}

function* cutsOf(input: Buffer): Generator<Buffer[]> {
  if (input.length <= MAX_CUT_EVERYWHERE) {
    for (let at = 0; at <= input.length; at++) yield [input.subarray(0, at), input.subarray(at)];
    yield Array.from(input, (_, at) => input.subarray(at, at + 1));
  }
  const random = seededRandom(createHash('sha256').update(input).digest().readUInt32LE());
  for (let tries = 0; tries < 2; tries++) {
    const chunks: Buffer[] = [];
    const largest = random.pick([3, 40, 400, 70_000]) + Math.ceil(input.length / 2_000);
    for (let at = 0; at < input.length; ) {
      const end = at + random.int(0, largest);
      chunks.push(input.subarray(at, end));
      at = Math.min(input.length, end);
    }
    yield chunks;
  }
}

/* ---------------------------------------------------------------- one line */

function lineOutcome(line: PhysicalLine, type: 'COMPLETIONS' | 'EMBEDDINGS'): string {
  const context = { type, models, maxLineBytes: MAX_LINE_BYTES, batchId: 'batch_1', firstLine: 1 };
  const checked = checkLine(line, context);
  const prepared = prepareLine(line, context, { attempts: 0, answerBytes: () => 1 });
  if (!checked.ok) {
    promise(prepared.kind === 'result' && prepared.entry.file === 'e', 'a bad line is never sent');
    return badOutcome(line, checked);
  }
  // What is found good is JSON: these two do not throw.
  const text = (line.content as Buffer).toString('utf8');
  const parsed = JSON.parse(text) as { custom_id: string };
  promise(checked.request.customId === parsed.custom_id, 'the id is the one that JSON.parse sees');
  return goodOutcome(memberOf(text, 'body') ?? '', checked.request.kind, prepared);
}

function badOutcome(line: PhysicalLine, { customId, problems }: Extract<CheckedLine, { ok: false }>): string {
  const [first] = problems;
  promise(first !== undefined, 'a bad line has a problem');
  for (const { code, message, param } of problems) {
    promise(VALIDATION_CODES.includes(code), `${code} is one of the contract's codes`);
    // They go into records, and a record's strings are UTF-8.
    promise(message.isWellFormed() && (param ?? '').isWellFormed(), `message and param are Unicode: ${code}`);
    promise(message.length > 0 && message.length < 2_000, `the message has a bearable length: ${message.length}`);
  }
  const message = describeProblems(problems);
  const json = errorLine('batch_1', { line: line.line, customId, error: { code: first.code, message }, attempts: 0 });
  promise(!/[\r\n]/.test(json) && json.isWellFormed(), 'the line of the errors file is one line of Unicode');
  JSON.parse(json);
  return `${first.code}@${first.param?.replaceAll(/\d+/g, 'n').replaceAll(/"(?:[^"\\]|\\.)*"|\.[^.[]{20,}/g, '?') ?? '-'}`;
}

function goodOutcome(body: string, kind: 'agent' | 'vectors' | 'openai', prepared: PreparedLine): string {
  if (prepared.kind === 'result') {
    promise(kind === 'vectors', 'only vectors are answered without a model');
    promise(prepared.entry.file === 'o', 'an answered line goes to the output');
    vectorsAsWritten(body, memberOf(memberOf(prepared.entry.json, 'response') ?? '', 'body') ?? '');
    return 'answered';
  }
  const { call } = prepared.line;
  const sent = call.json ?? JSON.stringify(call.body);
  // Limits by tokens look at every call.
  promise(Number.isFinite(createTokenEstimate().of(call)), 'the tokens of a call can be estimated');
  promise(sent.isWellFormed(), 'what is sent is Unicode');
  if (kind === 'openai') promiseSame(sent, withModels(body, call.body.model), 'the body at the model');
  else if (kind === 'agent') agentAsWritten(body, sent);
  else promiseSame(JSON.stringify(JSON.parse(sent).input), JSON.stringify(textsToEmbed(body)), 'the texts to embed');
  return `${kind} ${call.endpoint}${call.json === undefined ? '' : ' as text'}`;
}

/** The body with the provider's name of the model in place of the client's, and nothing else changed. */
function withModels(body: string, name: unknown): string {
  let text = '';
  let copied = 0;
  for (const member of membersOf(body)) {
    if (member.name !== 'model') continue;
    text += body.slice(copied, member.value.start) + JSON.stringify(name);
    copied = member.value.end;
  }
  return text + body.slice(copied);
}

/** The prompt is the client's to the character, and a schema that the line brings along is there as it was written. */
function agentAsWritten(body: string, sent: string): void {
  const wanted = JSON.parse(body) as { input: string; output_schema?: string | null };
  const message = JSON.parse(sent).messages.at(-1).content as string | { text?: string }[];
  const prompt = typeof message === 'string' ? message : message[0]?.text;
  promiseSame(JSON.stringify(prompt), JSON.stringify(wanted.input), 'the prompt at the model');
  if (typeof wanted.output_schema !== 'string') return;
  const format = memberOf(memberOf(sent, 'response_format') ?? '', 'json_schema') ?? '';
  promiseSame(memberOf(format, 'schema') ?? '', wanted.output_schema.trim(), 'the schema at the model');
}

type Item = { values: unknown[]; metadata?: { text?: unknown } };

function textsToEmbed(body: string): unknown[] {
  const { vectors } = JSON.parse(body) as { vectors: Item[] };
  return vectors.filter(({ values }) => values.length === 0).map(({ metadata }) => metadata?.text);
}

/** Vectors that are kept are in the answer as they were written. */
export function vectorsAsWritten(body: string, answer: string): void {
  const given = elementsOf(memberOf(body, 'vectors') ?? '[]');
  const found = elementsOf(memberOf(memberOf(answer, 'data') ?? '', 'vectors') ?? '[]');
  promise(given.length === found.length, 'each vector is in the answer');
  for (const [index, item] of given.entries()) {
    const vector = found[index] ?? '';
    const metadata = memberOf(item, 'metadata') ?? '{}';
    promiseSame(memberOf(vector, 'id') ?? '', memberOf(item, 'id') ?? '', 'the id of a vector');
    promiseSame(memberOf(vector, 'metadata') ?? '', metadata === 'null' ? '{}' : metadata, 'the metadata of a vector');
    const values = memberOf(item, 'values') ?? '';
    if (elementsOf(values).length > 0) promiseSame(memberOf(vector, 'values') ?? '', values, 'the values of a vector');
  }
}
