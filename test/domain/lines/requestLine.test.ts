import { isAscii } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeProblems } from '../../../shared/domain/lines/lineProblem.ts';
import { LineReader, type PhysicalLine } from '../../../shared/domain/lines/lineReader.ts';
import { type CheckedLine, checkBlock, checkLine, type LineContext } from '../../../shared/domain/lines/requestLine.ts';
import { ModelsFileSchema } from '../../../shared/domain/models.ts';

const models = ModelsFileSchema.parse({
  providers: { local: { kind: 'simulator' } },
  models: {
    default: { provider: 'local', model: 'text', endpoints: ['chat/completions', 'completions', 'responses'] },
    embedding: { provider: 'local', model: 'vec', endpoints: ['embeddings'] },
  },
  agents: { helper: { model: 'default' }, 'with space': { model: 'default' } },
  vectors: { model: 'embedding' },
});
const context: LineContext = { type: 'COMPLETIONS', models, maxLineBytes: 100_000 };

function physical(content: Buffer | string, terminated = true): PhysicalLine {
  const bytes = Buffer.from(content);
  return { line: 1, start: 0, end: bytes.length, terminated, content: bytes };
}

function check(content: Buffer | string | object, more: Partial<LineContext> = {}, terminated = true): CheckedLine {
  const bytes = typeof content === 'string' || Buffer.isBuffer(content) ? content : JSON.stringify(content);
  return checkLine(physical(bytes, terminated), { ...context, ...more });
}

const agent = (body: unknown, more: object = {}) => ({
  custom_id: 'r1',
  method: 'POST',
  url: '/agents/helper/invoke',
  body,
  ...more,
});
const chat = { model: 'default', messages: [{ role: 'user', content: 'Hi' }] };
const openAi = (path: string, body: unknown) => ({ custom_id: 'r1', method: 'POST', url: `/v1/${path}`, body });
const vectors = (items: unknown) => ({ custom_id: 'r1', method: 'POST', url: '/vectors', body: { vectors: items } });
const EMBEDDINGS = { type: 'EMBEDDINGS' } as const;

describe('a good line', () => {
  it.each<[string, object, Partial<LineContext>, object]>([
    ['an agent call', agent({ input: 'Hi' }), {}, { kind: 'agent', agentId: 'helper' }],
    [
      'an agent id that is percent-encoded',
      agent({ input: 'Hi' }, { url: '/agents/with%20space/invoke' }),
      {},
      { agentId: 'with space' },
    ],
    [
      'an agent call with all that is allowed',
      agent({
        input: 'Grüße 🎈',
        enable_streaming: false,
        show_tool_calls: false,
        output_schema: '{"type":"object"}',
        variables: [
          { name: 'city', value: 'Köln' },
          { key: 'n', value: 3 },
        ],
        documents: [
          { type: 'image', url: 'https://example.com/a.png', title: 'A' },
          { type: 'pdf', url: 'data:application/pdf;base64,AA==' },
        ],
      }),
      {},
      { kind: 'agent' },
    ],
    [
      'nulls for fields that are left out',
      agent({ input: 'Hi', thread_id: null, output_schema: null, documents: null }),
      {},
      {},
    ],
    ['lists that ask for nothing', agent({ input: 'Hi', enabled_tools: [], metadata_filter: {} }), {}, {}],
    ['other keys at the top', agent({ input: 'Hi' }, { note: 'ignored', __proto__x: 1 }), {}, {}],
    [
      'a chat completion',
      openAi('chat/completions', { ...chat, stream: false, seed: 7 }),
      {},
      { kind: 'openai', model: 'default' },
    ],
    ['a completion', openAi('completions', { model: 'default', prompt: 'Hi' }), {}, { endpoint: 'completions' }],
    ['a response', openAi('responses', { model: 'default', input: [{ role: 'user', content: 'Hi' }] }), {}, {}],
    ['a response by a stored prompt', openAi('responses', { model: 'default', prompt: { id: 'p' } }), {}, {}],
    ['an embedding', openAi('embeddings', { model: 'embedding', input: ['a', 'b'] }), EMBEDDINGS, {}],
    [
      'vectors to embed and to keep',
      vectors([
        { id: 'a', values: [], metadata: { text: 'Hi', n: 1 } },
        { id: 'b', values: [1, 2] },
      ]),
      EMBEDDINGS,
      { kind: 'vectors' },
    ],
  ])('is %s', (_name, line, more, expected) => {
    const checked = check(line, more);
    expect(checked).toMatchObject({ ok: true, request: { customId: 'r1', ...expected } });
  });

  it('keeps a body for OpenAI as it came, whatever its keys', () => {
    const text =
      '{"custom_id":"r1","method":"POST","url":"/v1/chat/completions","body":{"model":"default","messages":[{"role":"user","content":"x"}],"__proto__":{"polluted":true},"constructor":{"prototype":{}}}}';
    const checked = check(text);
    expect(checked.ok && JSON.stringify(checked.request.body)).toBe(JSON.stringify(JSON.parse(text).body));
    expect(Object.hasOwn({}, 'polluted') || 'polluted' in {}).toBe(false);
  });

  it('may have a custom_id of 512 characters, whatever each of them takes', () => {
    expect(check(agent({ input: 'x' }, { custom_id: '🎈'.repeat(512) }))).toMatchObject({ ok: true });
  });

  it('may be the last one without a newline', () => {
    expect(check(JSON.stringify(agent({ input: 'Hi' })), {}, false).ok).toBe(true);
  });
});

describe('a bad line', () => {
  const deep = `${'['.repeat(600)}${']'.repeat(600)}`;
  it.each<[string, string | Buffer | object, Partial<LineContext>, string, string | null, RegExp]>([
    ['text', 'hello', {}, 'invalid_json_line', null, /not JSON/],
    ['HTML', '<!DOCTYPE html>', {}, 'invalid_json_line', null, /looks like HTML/],
    ['text in a page of HTML', 'Not found', { htmlPage: true }, 'invalid_json_line', null, /looks like HTML/],
    ['two values', '{"a":1} {"b":2}', {}, 'invalid_json_line', null, /not JSON.*position 8\.$/],
    ['a BOM in the middle of the file', '\ufeff{}', {}, 'invalid_json_line', null, /byte order mark/],
    ['Latin-1', Buffer.from('{"custom_id":"Köln"}', 'latin1'), {}, 'invalid_utf8', null, /not valid UTF-8/],
    ['UTF-16', Buffer.from('\ufeff{}', 'utf16le'), {}, 'invalid_utf8', null, /UTF-16/],
    ['an array', '[1,2]', {}, 'invalid_line', null, /is an array.*one JSON object/],
    ['null', 'null', {}, 'invalid_line', null, /is null/],
    ['a string', '"x"', {}, 'invalid_line', null, /is a string/],
    ['nested without end', `{"custom_id":"r1","body":${deep}}`, {}, 'invalid_value', null, /deeper/],
    [
      'no custom_id',
      agent({ input: 'x' }, { custom_id: undefined }),
      {},
      'missing_required_parameter',
      'custom_id',
      /custom_id is missing/,
    ],
    [
      'a custom_id that is a number',
      agent({ input: 'x' }, { custom_id: 7 }),
      {},
      'invalid_type',
      'custom_id',
      /must be a string.*not a number/,
    ],
    ['an empty custom_id', agent({ input: 'x' }, { custom_id: '' }), {}, 'invalid_value', 'custom_id', /0 characters/],
    [
      'a long custom_id',
      agent({ input: 'x' }, { custom_id: 'x'.repeat(513) }),
      {},
      'invalid_value',
      'custom_id',
      /513 characters/,
    ],
    [
      'a long custom_id of characters that take two units each',
      agent({ input: 'x' }, { custom_id: '🎈'.repeat(513) }),
      {},
      'invalid_value',
      'custom_id',
      /513 characters/,
    ],
    ['no method', agent({ input: 'x' }, { method: undefined }), {}, 'missing_required_parameter', 'method', /"POST"/],
    ['GET', agent({ input: 'x' }, { method: 'GET' }), {}, 'invalid_method', 'method', /not "GET"/],
    ['no url', agent({ input: 'x' }, { url: undefined }), {}, 'missing_required_parameter', 'url', /url is missing/],
    ['a url that is a number', agent({ input: 'x' }, { url: 1 }), {}, 'invalid_type', 'url', /a string/],
    ['another url', agent({ input: 'x' }, { url: '/v1/images' }), {}, 'invalid_url', 'url', /\/v1\/images.*must be/],
    [
      'a whole url',
      agent({ input: 'x' }, { url: 'https://api.openai.com/v1/chat/completions' }),
      {},
      'invalid_url',
      'url',
      /not known/,
    ],
    ['a broken agent id', agent({ input: 'x' }, { url: '/agents/%zz/invoke' }), {}, 'invalid_url', 'url', /not known/],
    [
      'a url for the other type',
      vectors([{ id: 'a', values: [1] }]),
      {},
      'url_not_allowed_for_type',
      'url',
      /type COMPLETIONS/,
    ],
    [
      'chat in a batch of embeddings',
      openAi('chat/completions', chat),
      EMBEDDINGS,
      'url_not_allowed_for_type',
      'url',
      /type EMBEDDINGS/,
    ],
    [
      'an agent that is not there',
      agent({ input: 'x' }, { url: '/agents/nobody/invoke' }),
      {},
      'model_not_found',
      'url',
      /agent "nobody"/,
    ],
    [
      'an agent named like a built-in',
      agent({ input: 'x' }, { url: '/agents/__proto__/invoke' }),
      {},
      'model_not_found',
      'url',
      /agent/,
    ],
    [
      'a model that is not there',
      openAi('chat/completions', { ...chat, model: 'gpt-9' }),
      {},
      'model_not_found',
      'body.model',
      /model "gpt-9"/,
    ],
    [
      'a model named like a built-in',
      openAi('chat/completions', { ...chat, model: 'constructor' }),
      {},
      'model_not_found',
      'body.model',
      /model/,
    ],
    [
      'a model that does other things',
      openAi('chat/completions', { ...chat, model: 'embedding' }),
      {},
      'model_not_found',
      'body.model',
      /does not serve/,
    ],
    [
      'no model',
      openAi('chat/completions', { messages: chat.messages }),
      {},
      'missing_required_parameter',
      'body.model',
      /body.model is missing/,
    ],
    ['no body', agent(undefined), {}, 'missing_required_parameter', 'body', /body is missing/],
    ['a body that is an array', agent([]), {}, 'invalid_type', 'body', /not an array/],
    ['a body that is null', agent(null), {}, 'invalid_type', 'body', /not null/],
    [
      'no input',
      agent({}),
      {},
      'missing_required_parameter',
      'body.input',
      /body.input is missing: it must be a string/,
    ],
    ['an input that is a list', agent({ input: ['x'] }), {}, 'invalid_type', 'body.input', /not an array/],
    [
      'stream: true to a model',
      openAi('chat/completions', { ...chat, stream: true }),
      {},
      'unsupported_parameter',
      'body.stream',
      /body.stream is not supported/,
    ],
    [
      'stream: true to an agent',
      agent({ input: 'x', stream: true }),
      {},
      'unsupported_parameter',
      'body.stream',
      /body.stream/,
    ],
    [
      'stream that is text',
      openAi('chat/completions', { ...chat, stream: 'yes' }),
      {},
      'invalid_type',
      'body.stream',
      /must be false/,
    ],
    [
      'enable_streaming: true',
      agent({ input: 'x', enable_streaming: true }),
      {},
      'unsupported_parameter',
      'body.enable_streaming',
      /not supported/,
    ],
    [
      'show_tool_calls: true',
      agent({ input: 'x', show_tool_calls: true }),
      {},
      'unsupported_parameter',
      'body.show_tool_calls',
      /not supported/,
    ],
    [
      'an unknown field of a document',
      agent({ input: 'x', documents: [{ type: 'pdf', url: 'https://a.b/c', pages: '1-3' }] }),
      {},
      'unsupported_parameter',
      'body.documents[0].pages',
      /not known/,
    ],
    [
      'an unknown field of a variable',
      agent({ input: 'x', variables: [{ name: 'a', value: 1, default: 2 }] }),
      {},
      'unsupported_parameter',
      'body.variables[0].default',
      /not known/,
    ],
    [
      'an unknown field of a vector',
      vectors([{ id: 'a', values: [1], namespace: 'n' }]),
      EMBEDDINGS,
      'unsupported_parameter',
      'body.vectors[0].namespace',
      /not known/,
    ],
    [
      'a thread',
      agent({ input: 'x', thread_id: 't1' }),
      {},
      'unsupported_parameter',
      'body.thread_id',
      /provider of this model cannot/,
    ],
    ['tools', agent({ input: 'x', enabled_tools: ['t'] }), {}, 'unsupported_parameter', 'body.enabled_tools', /cannot/],
    [
      'a metadata filter',
      agent({ input: 'x', metadata_filter: { a: 1 } }),
      {},
      'unsupported_parameter',
      'body.metadata_filter',
      /cannot/,
    ],
    [
      'an unknown field',
      agent({ input: 'x', temprature: 1 }),
      {},
      'unsupported_parameter',
      'body.temprature',
      /not known/,
    ],
    [
      'an output_schema that is an object',
      agent({ input: 'x', output_schema: {} }),
      {},
      'invalid_type',
      'body.output_schema',
      /a string/,
    ],
    [
      'an output_schema that is no JSON',
      agent({ input: 'x', output_schema: '{' }),
      {},
      'invalid_value',
      'body.output_schema',
      /JSON schema/,
    ],
    [
      'an output_schema that is nested too deep to be written again',
      agent({ input: 'x', output_schema: `${'{"a":'.repeat(501)}1${'}'.repeat(501)}` }),
      {},
      'invalid_value',
      'body.output_schema',
      /nested deeper than 500 levels/,
    ],
    [
      'a document of another type',
      agent({ input: 'x', documents: [{ type: 'mp3', url: 'https://a.b/c' }] }),
      {},
      'invalid_value',
      'body.documents[0].type',
      /"image" or "pdf"/,
    ],
    [
      'a document without url',
      agent({ input: 'x', documents: [{ type: 'pdf' }] }),
      {},
      'missing_required_parameter',
      'body.documents[0].url',
      /missing/,
    ],
    [
      'a document from a disk',
      agent({ input: 'x', documents: [{ type: 'pdf', url: 'file:///etc/passwd' }] }),
      {},
      'invalid_value',
      'body.documents[0].url',
      /https/,
    ],
    [
      'a variable without name',
      agent({ input: 'x', variables: [{ value: 'x' }] }),
      {},
      'invalid_value',
      'body.variables[0]',
      /"name"/,
    ],
    [
      'variables that are an object',
      agent({ input: 'x', variables: { a: 1 } }),
      {},
      'invalid_type',
      'body.variables',
      /an array/,
    ],
    [
      'no messages',
      openAi('chat/completions', { model: 'default' }),
      {},
      'missing_required_parameter',
      'body.messages',
      /an array/,
    ],
    [
      'empty messages',
      openAi('chat/completions', { model: 'default', messages: [] }),
      {},
      'invalid_value',
      'body.messages',
      /empty/,
    ],
    [
      'no prompt',
      openAi('completions', { model: 'default' }),
      {},
      'missing_required_parameter',
      'body.prompt',
      /missing/,
    ],
    [
      'no input for a response',
      openAi('responses', { model: 'default' }),
      {},
      'missing_required_parameter',
      'body.input',
      /missing/,
    ],
    [
      'a response in the background',
      openAi('responses', { model: 'default', input: 'x', background: true }),
      {},
      'unsupported_parameter',
      'body.background',
      /fetched later/,
    ],
    [
      'an embedding of nothing',
      openAi('embeddings', { model: 'embedding', input: '' }),
      EMBEDDINGS,
      'invalid_value',
      'body.input',
      /empty/,
    ],
    ['no vectors', vectors(undefined), EMBEDDINGS, 'missing_required_parameter', 'body.vectors', /an array/],
    ['an empty list of vectors', vectors([]), EMBEDDINGS, 'invalid_value', 'body.vectors', /empty/],
    [
      'a vector without text',
      vectors([{ id: 'a', values: [], metadata: {} }]),
      EMBEDDINGS,
      'missing_required_parameter',
      'body.vectors[0].metadata.text',
      /missing/,
    ],
    [
      'a vector of empty text',
      vectors([{ id: 'a', values: [], metadata: { text: '' } }]),
      EMBEDDINGS,
      'invalid_value',
      'body.vectors[0].metadata.text',
      /nothing to embed/,
    ],
    [
      'a vector whose text is a number',
      vectors([{ id: 'a', values: [], metadata: { text: 1 } }]),
      EMBEDDINGS,
      'invalid_type',
      'body.vectors[0].metadata.text',
      /a string/,
    ],
    [
      'a vector without id',
      vectors([{ values: [1] }]),
      EMBEDDINGS,
      'missing_required_parameter',
      'body.vectors[0].id',
      /missing/,
    ],
    [
      'a vector without values',
      vectors([{ id: 'a' }]),
      EMBEDDINGS,
      'missing_required_parameter',
      'body.vectors[0].values',
      /missing/,
    ],
    [
      'a vector of texts',
      vectors([{ id: 'a', values: ['1'] }]),
      EMBEDDINGS,
      'invalid_type',
      'body.vectors[0].values[0]',
      /a number/,
    ],
  ])('of %s is refused by its code and field', (_name, line, more, code, param, message) => {
    const checked = check(line, more);
    if (checked.ok) return expect.fail('was accepted');
    expect(checked.problems[0]).toEqual({ code, param, message: expect.stringMatching(message) });
    expect(checked.problems).toHaveLength(1);
  });

  it.each([
    ['in the middle of the JSON', '{"custom_id":"r1","met'],
    ['right after a value', '{"custom_id":"r1"'],
    ['in the middle of a word', '{"custom_id":"r1","x":tru'],
    ['in the middle of a character', Buffer.from('{"custom_id":"Grü').subarray(0, -1)],
  ])('that is the last and cut off %s looks cut off', (_name, text) => {
    const checked = check(text, {}, false);
    expect(checked).toMatchObject({
      problems: [{ code: 'invalid_json_line', message: expect.stringMatching(/cut off/) }],
    });
  });

  it('over the limit says how long it is', () => {
    const [line] = new LineReader({ maxLineBytes: 10 }).push(Buffer.from(`${'x'.repeat(50)}\n`));
    expect(line && checkLine(line, { ...context, maxLineBytes: 10 })).toMatchObject({
      customId: null,
      problems: [{ code: 'line_too_long', message: expect.stringMatching(/50 bytes; 10 are/) }],
    });
  });

  it('is one nested deeper than 500 levels, with whatever brackets in its texts', () => {
    const nested = (levels: number, brackets: string) => {
      // The line and its body are two of them.
      const value = `${'['.repeat(levels - 2)}${']'.repeat(levels - 2)}`;
      return `{"custom_id":"r1","method":"POST","url":"/v1/chat/completions","body":{"model":"default","messages":[{"role":"user","content":"${brackets}"}],"deep":${value}}}`;
    };
    for (const brackets of ['', '[{'.repeat(400)]) {
      expect(check(nested(500, brackets)).ok).toBe(true);
      expect(check(nested(501, brackets))).toMatchObject({ problems: [{ message: expect.stringMatching(/deeper/) }] });
    }
  });

  it('keeps its custom_id where that is usable, and tells of every problem', () => {
    const checked = check({ custom_id: 'r9', method: 'PUT', url: '/x', body: 1 });
    if (checked.ok) return expect.fail('was accepted');
    expect(checked.customId).toBe('r9');
    expect(checked.problems.map((problem) => problem.code)).toEqual(['invalid_method', 'invalid_url', 'invalid_type']);
    expect(describeProblems(checked.problems)).toMatch(/method must be.*url.*body must be/);
  });

  it('never makes a long message, however long the line', () => {
    const long = 'x'.repeat(50_000);
    const bodies = [
      { [long]: 1, [`${long}2`]: 2 },
      Object.fromEntries(Array.from({ length: 1_000 }, (_, at) => [`k${at}`, at])),
    ];
    for (const body of bodies) {
      const checked = check(agent(body, { method: long, url: `/${long}` === long ? 1 : `/agents/helper/invoke` }));
      if (checked.ok) return expect.fail('was accepted');
      expect(describeProblems(checked.problems).length).toBeLessThan(1_200);
    }
    for (const text of [long, `"${long}`, `{"a":${long}}`]) {
      const checked = check(text);
      expect(!checked.ok && describeProblems(checked.problems).length).toBeLessThan(400);
    }
  });

  it('is told of, not thrown, whatever it holds', () => {
    const lines = fc.oneof(
      fc.json().map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
      fc
        .record(
          {
            custom_id: fc.anything(),
            method: fc.constantFrom('POST', 'GET', 1),
            url: fc.constantFrom('/vectors', '/agents/helper/invoke', '/v1/chat/completions', '/v1/responses', 3),
            body: fc.oneof(
              fc.anything(),
              fc.record(
                {
                  input: fc.anything(),
                  messages: fc.anything(),
                  vectors: fc.anything(),
                  model: fc.constantFrom('default', 'x'),
                },
                { requiredKeys: [] },
              ),
            ),
          },
          { requiredKeys: [] },
        )
        .map((value) =>
          Buffer.from(
            JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? Number(part) : part)) ?? 'null',
          ),
        ),
    );
    fc.assert(
      fc.property(
        lines,
        fc.constantFrom('COMPLETIONS' as const, 'EMBEDDINGS' as const),
        fc.boolean(),
        (line, type, ended) => {
          const checked = check(line, { type }, ended);
          // The same where the reader has the text at hand.
          if (isAscii(line))
            expect(
              checkLine({ ...physical(line, ended), ascii: line.toString('latin1') }, { ...context, type }),
            ).toEqual(checked);
          // The same among other lines, good and bad.
          const block = [physical('{}'), physical(line, ended), physical('{', false)];
          expect(checkBlock(block, { ...context, type })).toEqual([
            check('{}', { type }),
            checked,
            check('{', { type }, false),
          ]);
          if (checked.ok) return;
          expect(checked.problems.length).toBeGreaterThan(0);
          for (const { message } of checked.problems) expect(message).not.toMatch(/undefined|\[object/);
        },
      ),
      { numRuns: 500 },
    );
  });
});
