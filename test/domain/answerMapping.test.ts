import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { answerAsJson, fromModelAnswer, type MappedAnswer, usageOf } from '../../shared/domain/answerMapping.ts';
import type { RequestLine } from '../../shared/domain/lines/requestLine.ts';
import { ModelsFileSchema } from '../../shared/domain/models.ts';

const models = ModelsFileSchema.parse({
  providers: { local: { kind: 'simulator' } },
  models: { default: { provider: 'local', model: 'm', endpoints: ['chat/completions'] } },
  agents: { plain: { model: 'default' } },
});
const agent: RequestLine = { kind: 'agent', customId: 'r1', agentId: 'plain', body: { input: 'x' } };
const jsonAgent: RequestLine = { ...agent, body: { input: 'x', output_schema: '{"type":"object"}' } };
const openAi = (endpoint: 'chat/completions' | 'responses' | 'embeddings' | 'completions'): RequestLine => ({
  kind: 'openai',
  customId: 'r1',
  endpoint,
  model: 'default',
  body: {},
});
const vectors: RequestLine = {
  kind: 'vectors',
  customId: 'r1',
  body: {
    vectors: [
      { id: 'a', values: [], metadata: { text: 'one', n: 1 } },
      { id: 'b', values: [9] },
      { id: 'c', values: [], metadata: { text: 'two' } },
    ],
  },
};

function map(request: RequestLine, answer: unknown): MappedAnswer {
  return fromModelAnswer(request, models, Buffer.from(typeof answer === 'string' ? answer : JSON.stringify(answer)));
}
const chat = (content: unknown, more: object = {}) => ({
  id: 'chatcmpl-1',
  choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 },
  ...more,
});
const usage = { inputTokens: 5, outputTokens: 7 };
const bodyOf = (answer: MappedAnswer) => JSON.parse(answer.body) as unknown;

describe('a model’s answer', () => {
  it('to an agent becomes its text', () => {
    const answer = map(agent, chat('Grüße\n"x"'));
    expect(answer).toMatchObject({ kind: 'ok', usage });
    expect(bodyOf(answer)).toEqual({ success: true, data: 'Grüße\n"x"', message_id: 'chatcmpl-1' });
    expect(answer.body).not.toMatch(/\n/);
    expect(
      bodyOf(
        map(
          agent,
          chat(
            [
              { type: 'text', text: 'a' },
              { type: 'text', text: 'b' },
            ],
            { id: 1 },
          ),
        ),
      ),
    ).toEqual({
      success: true,
      data: 'ab',
    });
  });

  it('to an agent with a schema becomes the JSON value, to the digit', () => {
    expect(map(jsonAgent, chat('{"n": 12345678901234567890}')).body).toBe(
      '{"success":true,"data":{"n": 12345678901234567890},"message_id":"chatcmpl-1"}',
    );
  });

  it('in OpenAI’s dialect stays as it came', () => {
    const texts = [
      ['chat/completions', '{ "choices" : [ {"x":1.0} ],\n "usage": {"prompt_tokens":5,"completion_tokens":7} }'],
      ['responses', '{"error":null,"output":[],"usage":{"input_tokens":5,"output_tokens":7}}'],
      ['embeddings', '{"data":[{"embedding":[0.10]}],"usage":{"prompt_tokens":5,"total_tokens":12}}'],
    ] as const;
    for (const [endpoint, text] of texts)
      expect(map(openAi(endpoint), text)).toEqual({ kind: 'ok', body: text, usage });
  });

  it('to vectors puts the embeddings where values were asked for, by their index', () => {
    const answer = map(vectors, {
      data: [
        { index: 1, embedding: [3, 4] },
        { index: 0, embedding: [1, 2] },
      ],
    });
    expect(answer.kind).toBe('ok');
    expect(bodyOf(answer)).toEqual({
      success: true,
      message: '3 vectors, 2 embedded.',
      vectors_count: 3,
      data: {
        vectors: [
          { id: 'a', values: [1, 2], metadata: { text: 'one', n: 1 } },
          { id: 'b', values: [9], metadata: {} },
          { id: 'c', values: [3, 4], metadata: { text: 'two' } },
        ],
      },
    });
  });

  it.each<[string, RequestLine, unknown, string, number?]>([
    ['no JSON', agent, '<html>', 'not_json'],
    ['a list', agent, '[]', 'not_json'],
    ['no choices', agent, { choices: [] }, 'incomplete'],
    ['no choices, in the dialect', openAi('completions'), {}, 'incomplete'],
    ['no output', openAi('responses'), { id: 'x' }, 'incomplete'],
    ['no data', openAi('embeddings'), { data: [] }, 'incomplete'],
    [
      'an error inside',
      openAi('chat/completions'),
      { error: { code: 429, message: 'slow' }, choices: [{}] },
      'error_inside',
      429,
    ],
    [
      'an error inside whose status is no number',
      agent,
      { error: { status: { valueOf: 1, toString: 2 } } },
      'error_inside',
    ],
    ['an error inside, as text', agent, { error: 'broken' }, 'error_inside'],
    ['a failed response', openAi('responses'), { error: { code: 'server_error' }, output: [] }, 'error_inside'],
    ['a refusal', agent, chat(null), 'no_text'],
    ['text instead of JSON', jsonAgent, chat('Sure! {'), 'not_the_schema'],
    ['too few embeddings', vectors, { data: [{ embedding: [1] }] }, 'incomplete'],
    [
      'two embeddings of one text',
      vectors,
      {
        data: [
          { index: 0, embedding: [1] },
          { index: 0, embedding: [2] },
        ],
      },
      'incomplete',
    ],
    ['embeddings of different lengths', vectors, { data: [{ embedding: [1] }, { embedding: [2, 3] }] }, 'incomplete'],
    ['embeddings that are not numbers', vectors, { data: [{ embedding: ['a'] }, { embedding: [null] }] }, 'incomplete'],
    [
      'embeddings beyond the texts',
      vectors,
      {
        data: [
          { index: 7, embedding: [1] },
          { index: 1, embedding: [1] },
        ],
      },
      'incomplete',
    ],
  ])('of %s is invalid, by its cause', (_name, request, answer, cause, status) => {
    const mapped = map(request, answer);
    expect(mapped).toMatchObject({ kind: 'invalid', cause, ...(status ? { status } : {}) });
    expect(bodyOf(mapped)).toEqual(
      typeof answer === 'string' && answer !== '[]'
        ? answer
        : JSON.parse(JSON.stringify(answer === '[]' ? [] : answer)),
    );
  });

  it('that is invalid still tells its usage, and its message holds nothing of the text', () => {
    const mapped = map(jsonAgent, chat('SECRET'));
    expect(mapped).toMatchObject({ kind: 'invalid', usage });
    expect(mapped.kind === 'invalid' && mapped.message).not.toMatch(/SECRET/);
  });

  it('is mapped or told of, never thrown, whatever it is', () => {
    const requests = fc.constantFrom(agent, jsonAgent, vectors, openAi('embeddings'), openAi('chat/completions'));
    const answers = fc.oneof(
      fc.uint8Array({ maxLength: 30 }),
      fc.json().map((text) => Buffer.from(text)),
      fc
        .record(
          { choices: fc.jsonValue(), data: fc.jsonValue(), usage: fc.jsonValue(), error: fc.jsonValue() },
          { requiredKeys: [] },
        )
        .map((value) => Buffer.from(JSON.stringify(value))),
    );
    fc.assert(
      fc.property(requests, answers, (request, answer) => {
        const mapped = fromModelAnswer(request, models, answer);
        expect(() => JSON.parse(mapped.body)).not.toThrow();
      }),
    );
  });
});

describe('usage', () => {
  it.each([
    [
      { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
      { inputTokens: 1, outputTokens: 2 },
    ],
    [
      { input_tokens: 1, output_tokens: 2 },
      { inputTokens: 1, outputTokens: 2 },
    ],
    [
      { prompt_tokens: 4, total_tokens: 4 },
      { inputTokens: 4, outputTokens: 0 },
    ],
    [{ total_tokens: 9 }, { inputTokens: 9, outputTokens: 0 }],
    [{ prompt_tokens: -1 }, undefined],
    [
      { prompt_tokens: Number.MAX_SAFE_INTEGER, completion_tokens: 2 },
      { inputTokens: 0, outputTokens: 2 },
    ],
    [{ total_tokens: 1e300 }, undefined],
    [{ prompt_tokens: 'many' }, undefined],
    [{}, undefined],
    [null, undefined],
  ])('of %j is %j', (reported, expected) => {
    expect(usageOf({ usage: reported })).toEqual(expected);
  });
});

describe('an answer in an errors file', () => {
  it('is JSON whatever it was', () => {
    expect(answerAsJson(Buffer.from('{"a": 1}'))).toBe('{"a": 1}');
    expect(JSON.parse(answerAsJson(Buffer.from('Bad gateway')))).toBe('Bad gateway');
    expect(JSON.parse(answerAsJson(Buffer.from([0xff, 0x41])))).toBe('\ufffdA');
    expect(JSON.parse(answerAsJson(Buffer.alloc(0)))).toBe('');
    expect(answerAsJson(Buffer.alloc(100_000, 'x')).length).toBeLessThan(5_000);
  });
});
