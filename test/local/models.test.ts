import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { fillModelKeys, writeModelsFile } from '../../local/models.ts';
import type { FunctionPlan, SecretPlan } from '../../local/template/plan.ts';
import { ModelsFileSchema } from '../../shared/domain/models.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'models-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const written = (server: Parameters<typeof writeModelsFile>[1], wantsKey = false) =>
  ModelsFileSchema.parse(JSON.parse(readFileSync(writeModelsFile(dir, server, wantsKey), 'utf8')));

it('a server with both models serves agents, vectors and the models by their names', () => {
  const file = written({ url: 'http://127.0.0.1:1/v1/', model: 'text', embeddingModel: 'vec' }, true);
  expect(file.providers.server).toEqual({ kind: 'openai', base_url: 'http://127.0.0.1:1/v1', api_key: true });
  expect(file.agents['*']).toEqual({ model: 'text' });
  expect(file.vectors).toEqual({ model: 'vec' });
});

it('one name for both has all endpoints', () => {
  expect(written({ url: 'http://h/v1', model: 'one', embeddingModel: 'one' }).models.one?.endpoints).toHaveLength(4);
});

it('without an embedding model there is none, rather than another server’s', () => {
  expect(written({ url: 'http://h/v1', model: 'text' }).vectors).toBeUndefined();
});

it('a URL or models that are missing are refused', () => {
  expect(() => written({ url: 'h:1', model: 'm' })).toThrow(/not an http or https URL/);
  expect(() => written({ url: 'http://h/v1' })).toThrow(/--model NAME/);
});

it('secrets of providers are filled from the environment, their own variable first', () => {
  const secret = (arn: string): SecretPlan => ({ logicalId: arn, name: arn, arn, value: undefined, generate: {} });
  const functions = [
    { environment: {} },
    { environment: { MODEL_KEY_SECRETS: JSON.stringify({ 'my-server': 'arn:a', other: 'arn:b' }) } },
  ] as FunctionPlan[];
  const filled = fillModelKeys([secret('arn:a'), secret('arn:b'), secret('arn:operator')], functions, {
    MODEL_API_KEY: 'general',
    MODEL_API_KEY_MY_SERVER: 'own',
  });
  expect(filled.map(({ value }) => value)).toEqual(['own', 'general', undefined]);
});
