import { describe, expect, it } from 'vitest';
import { toModelCall } from '../../shared/domain/lineMapping.ts';
import type { RequestLine } from '../../shared/domain/lines/requestLine.ts';
import { ModelsFileSchema } from '../../shared/domain/models.ts';

const models = ModelsFileSchema.parse({
  providers: { local: { kind: 'simulator' }, far: { kind: 'openai', base_url: 'https://example.com/v1' } },
  models: {
    default: { provider: 'far', model: 'vendor/text-1', endpoints: ['chat/completions', 'completions', 'responses'] },
    embedding: { provider: 'local', model: 'vec', endpoints: ['embeddings'] },
  },
  agents: {
    plain: { model: 'default' },
    poet: {
      model: 'default',
      instructions: 'Write about {{ city }} in {{style}}. {{unknown}} {{city}}',
      temperature: 0.2,
      max_output_tokens: 99,
      output_schema: { type: 'object' },
    },
  },
  vectors: { model: 'embedding' },
});

const agent = (agentId: string, body: Extract<RequestLine, { kind: 'agent' }>['body']): RequestLine => ({
  kind: 'agent',
  customId: 'r1',
  agentId,
  body,
});
const bodyOf = (request: RequestLine) => {
  const call = toModelCall(request, models);
  return call.kind === 'call' ? call.body : expect.fail(`is ${call.kind}`);
};

describe('a line becomes a model call', () => {
  it('of an agent: its input as the user’s message', () => {
    expect(toModelCall(agent('plain', { input: 'Hi' }), models)).toEqual({
      kind: 'call',
      provider: 'far',
      model: 'default',
      endpoint: 'chat/completions',
      body: { model: 'vendor/text-1', messages: [{ role: 'user', content: 'Hi' }] },
    });
  });

  it('of an agent with instructions and settings, variables filled in once', () => {
    const variables = [
      { name: 'city', value: '{{style}} $&' },
      { key: 'style', value: 3 },
    ];
    expect(bodyOf(agent('poet', { input: '{{city}}', variables }))).toEqual({
      model: 'vendor/text-1',
      messages: [
        { role: 'system', content: 'Write about {{style}} $& in 3. {{unknown}} {{style}} $&' },
        { role: 'user', content: '{{city}}' },
      ],
      temperature: 0.2,
      max_tokens: 99,
      response_format: { type: 'json_schema', json_schema: { name: 'output', schema: { type: 'object' } } },
    });
  });

  it('of an agent whose line brings its own schema', () => {
    expect(bodyOf(agent('poet', { input: 'x', output_schema: '{"type":"array"}' }))).toMatchObject({
      response_format: { json_schema: { schema: { type: 'array' } } },
    });
  });

  it('of an agent with documents: as parts after the text', () => {
    const documents = [
      { type: 'image' as const, url: 'https://example.com/a.png', title: 'Front' },
      { type: 'pdf' as const, url: 'https://example.com/b.pdf', title: 'b.pdf' },
      { type: 'pdf' as const, url: 'data:application/pdf;base64,AA==' },
    ];
    expect(bodyOf(agent('plain', { input: 'Look', documents })).messages).toEqual([
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Look' },
          { type: 'text', text: 'Front' },
          { type: 'image_url', image_url: { url: 'https://example.com/a.png' } },
          { type: 'file', file: { filename: 'b.pdf', file_data: 'https://example.com/b.pdf' } },
          { type: 'file', file: { filename: 'document.pdf', file_data: 'data:application/pdf;base64,AA==' } },
        ],
      },
    ]);
  });

  it('of OpenAI’s dialect: untouched but for the model’s name', () => {
    const body = JSON.parse('{"messages":[],"model":"default","__proto__":{"a":1},"n":2}') as Record<string, unknown>;
    const request: RequestLine = {
      kind: 'openai',
      customId: 'r1',
      endpoint: 'chat/completions',
      model: 'default',
      body,
    };
    expect(JSON.stringify(bodyOf(request))).toBe('{"messages":[],"model":"vendor/text-1","__proto__":{"a":1},"n":2}');
    expect(body.model).toBe('default');
  });

  it('of OpenAI’s dialect: with its numbers as they were written, whatever its names look like', () => {
    const bodyText =
      '{ "seed" : 12345678901234567890,"mod\\u0065l":"x", "t":[1.10,{"model":-0, "s":"a\\"},{\\\\"}] ,"model":"default","n":{} }';
    const request: RequestLine = {
      kind: 'openai',
      customId: 'r1',
      endpoint: 'chat/completions',
      model: 'default',
      body: JSON.parse(bodyText) as Record<string, unknown>,
      bodyText,
    };
    const call = toModelCall(request, models);
    expect(call.kind === 'call' && call.json).toBe(
      bodyText.replace('"x"', '"vendor/text-1"').replace('"default"', '"vendor/text-1"'),
    );
  });

  it('of vectors: the texts of those without values', () => {
    const request: RequestLine = {
      kind: 'vectors',
      customId: 'r1',
      body: {
        vectors: [
          { id: 'a', values: [], metadata: { text: 'one' } },
          { id: 'b', values: [1, 2] },
          { id: 'c', values: [], metadata: { text: 'two' } },
        ],
      },
    };
    expect(toModelCall(request, models)).toEqual({
      kind: 'call',
      provider: 'local',
      model: 'embedding',
      endpoint: 'embeddings',
      body: { model: 'vec', input: ['one', 'two'] },
    });
  });

  it('of vectors that all have values: needs no call', () => {
    const request: RequestLine = { kind: 'vectors', customId: 'r1', body: { vectors: [{ id: 'b', values: [1, 2] }] } };
    const call = toModelCall(request, models);
    expect(call.kind === 'answered' && JSON.parse(call.body)).toEqual({
      success: true,
      message: '1 vector, 0 embedded.',
      vectors_count: 1,
      data: { vectors: [{ id: 'b', values: [1, 2], metadata: {} }] },
    });
  });

  it('or says that the model is gone', () => {
    const none = { ...models, models: {}, agents: {}, vectors: undefined };
    const requests: RequestLine[] = [
      agent('plain', { input: 'x' }),
      { kind: 'openai', customId: 'r', endpoint: 'completions', model: 'default', body: { model: 'default' } },
      { kind: 'vectors', customId: 'r', body: { vectors: [{ id: 'a', values: [], metadata: { text: 'x' } }] } },
    ];
    for (const request of requests) expect(toModelCall(request, none).kind).toBe('model_not_found');
  });
});
