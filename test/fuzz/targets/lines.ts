import assert from 'node:assert/strict';
import { VALIDATION_CODES } from '../../../shared/domain/errors.ts';
import { LineReader, type PhysicalLine } from '../../../shared/domain/lines/lineReader.ts';
import { checkLine, type RequestLine } from '../../../shared/domain/lines/requestLine.ts';
import { ModelsFileSchema } from '../../../shared/domain/models.ts';
import { prepareLine } from '../../../shared/usecases/runShard/prepareLine.ts';
import { jsonTokens } from '../jsonTokens.ts';
import { numberOf, type Target } from '../target.ts';

const MAX_LINE_BYTES = 2 * 1024 * 1024;
const MIB = 1024 * 1024;
const BATCH_ID = 'batch_01KF0K8Y2013DXTGHGKTJ9V124';
const models = ModelsFileSchema.parse({
  providers: { test: { kind: 'openai', base_url: 'https://models.example/v1' } },
  models: {
    default: { provider: 'test', model: 'their-name', endpoints: ['chat/completions', 'completions', 'responses'] },
    embedding: { provider: 'test', model: 'their-embedding', endpoints: ['embeddings'] },
  },
  agents: { '*': { model: 'default', instructions: 'You are {{who}}.' } },
  vectors: { model: 'embedding' },
});

/**
 * A file's lines, from its bytes to what a model is sent: each line that is not blank gets one of the contract's errors,
 * or a call whose body says what the line's says, number by number as it was written.
 */
export const lines = (): Target => ({
  large: () => [
    chat('x'.repeat(MIB)),
    chat('\u{1f600}'.repeat(MIB / 4)),
    Buffer.from(`{"custom_id":"deep","method":"POST","url":"/v1/chat/completions","body":${'['.repeat(100_000)}`),
    chat(`"},${'{"a":'.repeat(600)}`),
    Buffer.from(
      chat('n')
        .toString()
        .replace('"n"', `"n","seed":${'9'.repeat(100_000)}`),
    ),
    Buffer.from(`${'\n'.repeat(10_000)}${chat('last')}`),
    Buffer.alloc(MAX_LINE_BYTES + 1, 'a'),
  ],
  check(input) {
    const whole = read([input]);
    assert.deepEqual(read(inPieces(input)), whole, 'the same bytes in other pieces are other lines');
    const types = ['COMPLETIONS', 'EMBEDDINGS'] as const;
    const outcomes = whole.flatMap((physical) => types.map((type) => checkOne(physical, type)));
    assert.equal(Reflect.get({}, 'polluted'), undefined, 'every object has it now');
    return outcomes.find((outcome) => outcome !== 'error') ?? (outcomes.length > 0 ? 'error' : 'blank');
  },
});

function chat(content: string): Buffer {
  const body = { model: 'default', messages: [{ role: 'user', content }] };
  return Buffer.from(`${JSON.stringify({ custom_id: 'large', method: 'POST', url: '/v1/chat/completions', body })}\n`);
}

function read(pieces: Buffer[]): PhysicalLine[] {
  const reader = new LineReader({ maxLineBytes: MAX_LINE_BYTES });
  const found: PhysicalLine[] = [];
  // `ascii` is a help for who has the block at hand, and depends on the pieces.
  const take = ({ ascii: _, content, ...line }: PhysicalLine) =>
    found.push({ ...line, content: content === 'too_long' ? content : Buffer.from(content) });
  for (const piece of pieces) for (const line of reader.push(piece)) take(line);
  for (const line of reader.end()) take(line);
  return found;
}

function inPieces(input: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  let state = numberOf(input);
  for (let at = 0; at < input.length; ) {
    state = Math.imul(state, 1_664_525) + 1_013_904_223;
    // Mostly small ones, but a megabyte is not read byte by byte.
    const bytes = 1 + ((state >>> 16) % (input.length > 10_000 ? 50_000 : 17));
    pieces.push(input.subarray(at, at + bytes));
    at += bytes;
  }
  return pieces;
}

function checkOne(physical: PhysicalLine, type: 'COMPLETIONS' | 'EMBEDDINGS'): 'error' | 'answered' | 'call' {
  const context = { type, models, maxLineBytes: MAX_LINE_BYTES, batchId: BATCH_ID, firstLine: 1 };
  const checked = checkLine(physical, context);
  const prepared = prepareLine(physical, context, { attempts: 0, answerBytes: () => 0 });
  if (!checked.ok) {
    const [problem] = checked.problems;
    assert(problem && VALIDATION_CODES.includes(problem.code), `no error of the contract: ${problem?.code}`);
    assert(problem.message.length > 0 && problem.message.isWellFormed());
    assert.equal(prepared.kind, 'result');
    checkErrorLine(prepared.kind === 'result' ? prepared.entry.json : '', physical, problem.code);
    return 'error';
  }
  assert(physical.content !== 'too_long');
  const written = JSON.parse(physical.content.toString()) as { custom_id: string };
  assert.equal(checked.request.customId, written.custom_id);
  if (prepared.kind === 'result') {
    // Vectors that all have their values are answered without a model.
    assert.equal(prepared.entry.file, 'o');
    assert.equal((JSON.parse(prepared.entry.json) as { custom_id: string }).custom_id, written.custom_id);
    return 'answered';
  }
  const { call } = prepared.line;
  checkSent(checked.request, physical.content.toString(), call.json ?? JSON.stringify(call.body));
  return 'call';
}

function checkErrorLine(json: string, physical: PhysicalLine, code: string): void {
  assert(!/[\r\n]/.test(json), 'an error line of several lines');
  const line = JSON.parse(json) as { id: string; line: number; error: { code: string }; custom_id: string | null };
  assert.equal(line.line, physical.line);
  assert.equal(line.error.code, code);
  assert(line.id.startsWith(`${BATCH_ID}_`));
}

function checkSent(request: RequestLine, written: string, sent: string): void {
  assert(!/[\r\n]/.test(sent) || /[\r\n]/.test(written));
  if (request.kind === 'openai') {
    const prefix = '/"body"';
    const body = new Map(
      [...jsonTokens(written)].flatMap(([path, token]): [string, string][] =>
        path === prefix || path.startsWith(`${prefix}/`) ? [[path.slice(prefix.length), token]] : [],
      ),
    );
    const name = request.endpoint === 'embeddings' ? '"their-embedding"' : '"their-name"';
    assert.deepEqual(jsonTokens(sent), body.set('/"model"', name), 'the model is sent another body');
    return;
  }
  const line = JSON.parse(written) as { body: Record<string, unknown> };
  const body = JSON.parse(sent) as Record<string, unknown>;
  if (request.kind === 'agent') {
    const content = (body.messages as { role: string; content: unknown }[]).at(-1)?.content;
    const text = typeof content === 'string' ? content : (content as { text: string }[])[0]?.text;
    assert.equal(text, line.body.input, 'the model is asked another question');
    return;
  }
  const vectors = line.body.vectors as { values: number[]; metadata?: { text: string } }[];
  const texts = vectors.filter(({ values }) => values.length === 0).map(({ metadata }) => metadata?.text);
  assert.deepEqual(body.input, texts, 'other texts are embedded');
}
