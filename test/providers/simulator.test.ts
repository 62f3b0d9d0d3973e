import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ModelEndpoint } from '../../shared/domain/modelEndpoints.ts';
import { type ModelsFile, ModelsFileSchema } from '../../shared/domain/models.ts';
import type { ModelCall, ModelProvider } from '../../shared/ports.ts';
import { createModelProviders } from '../../shared/providers/modelProviders.ts';
import { answerSchema } from '../../shared/providers/schemaAnswer.ts';
import { seededNumbers } from '../../shared/providers/seeded.ts';

function models(simulator: Record<string, unknown> = {}): ModelsFile {
  return ModelsFileSchema.parse({ providers: { simulator: { kind: 'simulator', ...simulator } }, models: {} });
}

function simulator(options: Record<string, unknown> = {}): ModelProvider {
  return createModelProviders({ models: models(options), keys: { get: async () => undefined }, maxSockets: 1 }).get(
    'simulator',
  );
}

async function ask(
  provider: ModelProvider,
  endpoint: ModelEndpoint,
  body: Record<string, unknown>,
  changes: Partial<ModelCall> = {},
) {
  const call = { endpoint, body, idempotencyKey: 'k', timeoutMs: 1_000, maxAnswerBytes: 1_000_000, ...changes };
  const answer = await provider.call(call);
  if (answer.kind !== 'answered') return { kind: answer.kind, status: 0, text: '', json: {} };
  const text = Buffer.from(answer.body).toString();
  return { kind: answer.kind, status: answer.status, text, json: JSON.parse(text) };
}

const chat = { model: 'm', messages: [{ role: 'user', content: 'How many ducks?' }] };

describe('the simulator', () => {
  it('answers the same bytes for the same prompt and seed, other ones for others', async () => {
    const [one, two] = [simulator(), simulator()];
    const first = await ask(one, 'chat/completions', chat);
    expect((await ask(two, 'chat/completions', chat)).text).toBe(first.text);
    expect((await ask(simulator({ seed: 2 }), 'chat/completions', chat)).text).not.toBe(first.text);
    const other = { ...chat, messages: [{ role: 'user', content: 'How many geese?' }] };
    expect((await ask(one, 'chat/completions', other)).text).not.toBe(first.text);
  });

  it('answers all four endpoints in their shape and says that it is simulated', async () => {
    const provider = simulator();
    const { json: chatted } = await ask(provider, 'chat/completions', { ...chat, n: 2 });
    expect(chatted).toMatchObject({ object: 'chat.completion', model: 'm', simulated: true });
    expect(chatted.choices).toHaveLength(2);
    expect(chatted.choices[0].message).toMatchObject({ role: 'assistant' });
    expect(chatted.choices[0].message.content).toContain('[simulated');
    expect(chatted.choices[0].message.content).toContain('How many ducks?');
    expect(chatted.usage.total_tokens).toBe(chatted.usage.prompt_tokens + chatted.usage.completion_tokens);

    const { json: completed } = await ask(provider, 'completions', { model: 'm', prompt: ['a', 'b'], max_tokens: 3 });
    expect(completed).toMatchObject({ object: 'text_completion', simulated: true });
    expect(completed.choices.map((choice: { index: number }) => choice.index)).toEqual([0, 1]);
    expect(completed.choices[0]).toMatchObject({ text: expect.stringMatching(/^.{12}$/), finish_reason: 'length' });

    const { json: responded } = await ask(provider, 'responses', { model: 'm', input: 'How many ducks?' });
    expect(responded).toMatchObject({ object: 'response', status: 'completed', simulated: true });
    expect(responded.output[0].content[0].text).toContain('How many ducks?');
    expect(responded.usage.input_tokens).toBeGreaterThan(0);

    const { json: embedded } = await ask(provider, 'embeddings', { model: 'm', input: ['x', 'y', 'x'] });
    expect(embedded).toMatchObject({ object: 'list', simulated: true });
    expect(embedded.data.map((entry: { index: number }) => entry.index)).toEqual([0, 1, 2]);
    expect(embedded.data[0].embedding).toEqual(embedded.data[2].embedding);
    expect(embedded.data[0].embedding).not.toEqual(embedded.data[1].embedding);
  });

  it('embeds into unit vectors of the size asked for, in numbers or base64', async () => {
    const provider = simulator({ dimensions: 96 });
    const { json } = await ask(provider, 'embeddings', { model: 'm', input: 'text' });
    expect(json.data[0].embedding).toHaveLength(96);
    expect(Math.hypot(...json.data[0].embedding)).toBeCloseTo(1, 4);
    const short = await ask(provider, 'embeddings', {
      model: 'm',
      input: 'text',
      dimensions: 8,
      encoding_format: 'base64',
    });
    expect(Buffer.from(short.json.data[0].embedding, 'base64')).toHaveLength(8 * 4);
  });

  it.each([
    ['chat/completions', { model: 'm' }],
    ['completions', { model: 'm' }],
    ['responses', { model: 'm' }],
    ['embeddings', { model: 'm', input: [] }],
  ] as const)('refuses a request to %s that lacks its input, as OpenAI does', async (endpoint, body) => {
    const answer = await ask(simulator(), endpoint, body);
    expect(answer.status).toBe(400);
    expect(answer.json.error).toMatchObject({ type: 'invalid_request_error', code: 'missing_required_parameter' });
  });

  it('answers a JSON value that satisfies the schema it is given', async () => {
    const schema = {
      type: 'object',
      properties: {
        kind: { enum: ['bird', 'fish'] },
        count: { type: 'integer', minimum: 3, maximum: 9 },
        names: { type: 'array', items: { type: 'string' }, minItems: 2 },
        home: { $ref: '#/$defs/place' },
        version: { const: 1 },
        note: { type: ['string', 'null'], maxLength: 5 },
      },
      required: ['kind', 'count', 'extra'],
      $defs: { place: { type: 'object', properties: { wet: { type: 'boolean' } }, required: ['wet'] } },
    };
    const format = { type: 'json_schema', json_schema: { name: 'animal', schema } };
    const { json } = await ask(simulator(), 'chat/completions', { ...chat, response_format: format });
    const value = JSON.parse(json.choices[0].message.content);
    expect(['bird', 'fish']).toContain(value.kind);
    expect(value.count).toBeGreaterThanOrEqual(3);
    expect(value.count).toBeLessThanOrEqual(9);
    expect(value.names).toHaveLength(2);
    expect(typeof value.home.wet).toBe('boolean');
    expect(value.version).toBe(1);
    expect(value.note.length).toBeLessThanOrEqual(5);
    expect(value).toHaveProperty('extra');

    const asResponse = { model: 'm', input: 'x', text: { format: { type: 'json_schema', name: 'a', schema } } };
    const responded = await ask(simulator(), 'responses', asResponse);
    expect(JSON.parse(responded.json.output[0].content[0].text)).toMatchObject({ version: 1 });
  });

  it('comes to an end with a schema that refers to itself', () => {
    const schema = { type: 'object', properties: { next: { $ref: '#' } }, required: ['next'] };
    expect(() => JSON.stringify(answerSchema(schema, 'x', seededNumbers('1')))).not.toThrow();
    const loop = { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/a' } } };
    expect(() => answerSchema(loop, 'x', seededNumbers('1'))).not.toThrow();
  });

  it('makes JSON of any schema, and the same each time', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (schema) => {
        const once = JSON.stringify(answerSchema(schema, 'x', seededNumbers('1')));
        expect(JSON.stringify(answerSchema(schema, 'x', seededNumbers('1')))).toBe(once);
      }),
    );
  });

  it('fails by its rates: the same calls in the same way at each run, and a later try may succeed', async () => {
    const rates = { bad_request: 0.1, rate_limited: 0.2, server_error: 0.2 };
    const run = async () => {
      const provider = simulator({ error_rates: rates });
      const statuses: string[] = [];
      for (let line = 0; line < 300; line++) {
        const tries: number[] = [];
        do tries.push((await ask(provider, 'chat/completions', chat, { idempotencyKey: `line-${line}` })).status);
        while ((tries.at(-1) ?? 0) >= 429 && tries.length < 50);
        statuses.push(tries.join(','));
      }
      return statuses;
    };
    const statuses = await run();
    expect(await run()).toEqual(statuses);
    const share = (status: string) => statuses.filter((tries) => tries.split(',')[0] === status).length / 300;
    expect(share('400')).toBeGreaterThan(0.04);
    expect(share('400')).toBeLessThan(0.18);
    expect(share('429')).toBeGreaterThan(0.1);
    expect(share('500')).toBeGreaterThan(0.1);
    expect(statuses.every((tries) => /(200|400)$/.test(tries))).toBe(true);
  });

  it('keeps to the timeout, the size and the signal of the call', async () => {
    const slow = simulator({ latency_ms: [60_000, 60_000] });
    expect((await ask(slow, 'chat/completions', chat, { timeoutMs: 5 })).kind).toBe('timeout');
    const abort = new AbortController();
    const called = ask(slow, 'chat/completions', chat, { timeoutMs: 600_000, signal: abort.signal });
    abort.abort(new Error('stopped'));
    await expect(called).rejects.toThrow('stopped');
    expect((await ask(simulator(), 'chat/completions', chat, { maxAnswerBytes: 10 })).kind).toBe('too_large');
  });

  it('is made once for its name; an unknown name is an error', async () => {
    const providers = createModelProviders({
      models: models(),
      keys: { get: async () => undefined },
      maxSockets: 1,
    });
    expect(providers.get('simulator')).toBe(providers.get('simulator'));
    expect(() => providers.get('toString')).toThrow('no provider "toString"');
  });
});
