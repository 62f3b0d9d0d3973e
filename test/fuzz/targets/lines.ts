import assert from 'node:assert/strict';
import { VALIDATION_CODES } from '../../../shared/domain/errors.ts';
import { LineReader, type PhysicalLine } from '../../../shared/domain/lines/lineReader.ts';
import { checkLine } from '../../../shared/domain/lines/requestLine.ts';
import { prepareLine } from '../../../shared/usecases/runShard/prepareLine.ts';
import { canonical, member, type Node, parseJson } from '../json.ts';
import type { Target } from '../run.ts';
import { models } from './models.ts';

const MAX_LINE_BYTES = 1_500_000;

const line = (url: string, body: string, id = 'a') =>
  `{"custom_id":"${id}","method":"POST","url":"${url}","body":${body}}`;
const chat = (more = '', content = 'hi') =>
  line('/v1/chat/completions', `{"model":"default","messages":[{"role":"user","content":"${content}"}]${more}}`);
const nested = (depth: number, open: string, close: string) =>
  chat(`,"x":${open.repeat(depth)}1${close.repeat(depth)}`);

export const SEED_LINES: readonly string[] = [
  chat(),
  chat(',"seed":12345678901234567890,"temperature":1.10,"top_p":-0,"x":[1e5,0.0000001,9007199254740993]'),
  chat(',"__proto__":{"a":1},"constructor":1,"10":1,"2":[{}],"a":1,"a":{"b":2}', '\\ud800 \\u0000 \u2028'),
  `{"body":"","mm":0,"model":"embedding",${chat().slice(1)}`,
  `{"body":[{"model":"embedding"}],${chat().slice(1)}`,
  line('/v1/completions', '{"model":"default","prompt":["a","b"],"n":1}'),
  line('/v1/responses', '{"model":"default","input":"a","metadata":{"a":1.0}}'),
  line('/v1/embeddings', '{"model":"embedding","input":["a",[1,2]]}'),
  line('/agents/a/invoke', '{"input":"é😀","variables":[{"name":"word","value":1e21}],"stream":false}'),
  line('/agents/json/invoke', '{"input":"a","documents":[{"type":"image","url":"https://a.example/b.png"}]}'),
  line('/vectors', '{"vectors":[{"id":"a","values":[1.10,-0,1e5],"metadata":{"n":12345678901234567890}}]}'),
  line('/vectors', '{"vectors":[{"id":"a","values":[],"metadata":{"text":"a"}}]}'),
];

/** The reader's lines for the bytes, in pieces of these sizes in turn. */
function read(input: Buffer, sizes: number[]): PhysicalLine[] {
  const reader = new LineReader({ maxLineBytes: MAX_LINE_BYTES });
  const found: PhysicalLine[] = [];
  for (let at = 0, turn = 0; at < input.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1;
    found.push(...reader.push(input.subarray(at, at + size)));
    at += size;
  }
  return [...found, ...reader.end()];
}

const seen = (found: PhysicalLine[]) =>
  found.map(({ line, start, end, terminated, content }) => [
    line,
    start,
    end,
    terminated,
    content === 'too_long' ? content : content.toString('latin1'),
  ]);

/** The line's body with the provider's name of the model, as one object. */
function expectedBody(body: Node): Node {
  if (body.kind !== 'object') return body;
  const text = JSON.stringify(models.models.default?.model);
  const asked = member(body, 'model');
  const name = asked?.kind === 'string' && asked.value === 'embedding' ? '"vec"' : text;
  return { ...body, members: new Map([...body.members, ['model', parseJson(name)]]) };
}

function checkPrepared(physical: PhysicalLine): void {
  const { content } = physical;
  const text = content === 'too_long' ? undefined : content.toString('utf8');
  const codes: string[] = [];
  for (const type of ['COMPLETIONS', 'EMBEDDINGS'] as const) {
    const context = { type, models, maxLineBytes: MAX_LINE_BYTES, batchId: 'batch_1', firstLine: 1 };
    const checked = checkLine(physical, context);
    if (!checked.ok) {
      // Validate leaves the line out: no worker gets to see it.
      const code = checked.problems[0]?.code ?? '';
      codes.push(code);
      assert((VALIDATION_CODES as readonly string[]).includes(code), `code ${code}`);
      continue;
    }
    const prepared = prepareLine(physical, context, { attempts: 0, answerBytes: () => 0 });
    if (prepared.kind === 'result') {
      const { file, json: texts } = prepared.result;
      const json = texts.join('');
      assert(!/[\r\n]/.test(json), 'a result has a raw newline');
      const result = parseJson(json);
      JSON.parse(json);
      assert.equal(member(result, 'custom_id')?.kind, 'string');
      assert.equal(file, 'o');
      checkVectors(result, text ?? '');
      continue;
    }
    const { request, call } = prepared.line;
    const written = parseJson(text ?? '');
    assert.equal(JSON.stringify(request.customId), canonical(member(written, 'custom_id') ?? written));
    const sent = String(call.json ?? JSON.stringify(call.body));
    JSON.parse(sent);
    const body = member(written, 'body');
    if (!body) assert.fail('a line without a body is a call');
    if (request.kind === 'openai') {
      assert.equal(canonical(parseJson(sent)), canonical(expectedBody(body)));
      // More than that: but for the model's name, byte for byte.
      const named = member(body, 'model')?.text ?? '';
      const mostly = (json: string) => json.replaceAll(named, '').replaceAll(JSON.stringify(call.body.model), '');
      // Of a body that names two models each is replaced.
      if (body.text.split('"model"').length === 2) assert.equal(mostly(sent), mostly(body.text), 'written anew');
    }
    if (request.kind === 'agent' && request.body.documents == null) {
      const { messages } = call.body as { messages: { content: string }[] };
      assert.equal(JSON.stringify(messages.at(-1)?.content), canonical(member(body, 'input') ?? body));
    }
  }
  if (text === undefined) assert.deepEqual(codes, ['line_too_long', 'line_too_long']);
}

/** What vectors bring along comes out as it was written. */
function checkVectors(result: Node, text: string): void {
  const asked = member(parseJson(text), 'body', 'vectors');
  const given = member(result, 'response', 'body', 'data', 'vectors');
  if (asked?.kind !== 'array' || given?.kind !== 'array') assert.fail('vectors are a list');
  assert.equal(given.items.length, asked.items.length);
  for (const [at, item] of asked.items.entries())
    for (const name of ['id', 'values', 'metadata']) {
      const wanted = member(item, name);
      const found = member(given.items[at], name);
      if (!found) assert.fail(`${name} is left out`);
      assert.equal(canonical(found), wanted ? canonical(wanted) : '{}');
    }
}

export const lines: Target = {
  name: 'lines',
  executions: 12_000,
  seeds: () => [
    ...SEED_LINES.map((text) => Buffer.from(text)),
    Buffer.from(`\ufeff${SEED_LINES.join('\r\n')}\n\n \t\r\n`),
    Buffer.from(chat('', 'x'.repeat(1_000_000))),
    Buffer.from(chat(`,"x":${'1'.repeat(1_000_000)}`)),
    Buffer.from(chat('', 'x'.repeat(MAX_LINE_BYTES))),
    ...[490, 501, 100_000].flatMap((depth) => [
      Buffer.from(nested(depth, '[', ']')),
      Buffer.from(nested(depth, '{"a":', '}')),
    ]),
  ],
  check(input) {
    const found = read(input, [input.length]);
    const pieces = input.length < 20_000 ? [[1], [3, 7, 64], [1_000, 1]] : [[65_537, 1]];
    for (const sizes of pieces) assert.deepEqual(seen(read(input, sizes)), seen(found), 'other pieces, other lines');
    for (const { line, start, end, terminated, content } of found) {
      const physical = { line, start, end, terminated, content };
      checkPrepared(physical);
      // The same where its text is at hand, by which most lines are read.
      if (content !== 'too_long') checkPrepared({ ...physical, latin1: content.toString('latin1') });
    }
  },
};
