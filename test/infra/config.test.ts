import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readModels, readStage } from '../../infra/config.ts';

function written(value: unknown): string {
  const path = join(mkdtempSync(join(tmpdir(), 'batch-api-config-')), 'file.json');
  writeFileSync(path, typeof value === 'string' ? value : JSON.stringify(value));
  return path;
}

describe('config.json', () => {
  test('has the stages prod and local, both whole', () => {
    expect(readStage('prod').settings).toMatchObject({
      allowPrivateNetworks: false,
      limits: { inputLines: 1_000_000 },
    });
    expect(readStage('local').settings.allowPrivateNetworks).toBe(true);
  });

  test('overrides are merged into the settings and checked with them', () => {
    expect(readStage('prod', { limits: { inputLines: 10 } }).settings.limits).toMatchObject({
      inputLines: 10,
      lineBytes: 10 * 1024 * 1024,
    });
    expect(() => readStage('prod', { limits: { inputLines: 0 } })).toThrow(/limits\.inputLines/);
  });

  test('a stage that is not there is named, with those that are', () => {
    expect(() => readStage('qa')).toThrow(/no stage "qa".*prod, local/);
  });

  test('an unknown or bad setting is named', () => {
    const path = written({ stages: { prod: { settings: { limitz: {}, shards: { maxLines: '2' } } } } });
    expect(() => readStage('prod', {}, path)).toThrow(/limitz/);
    expect(() => readStage('prod', {}, path)).toThrow(/stages\.prod\.settings\.shards\.maxLines/);
    expect(() => readStage('prod', {}, written('{'))).toThrow(/is not JSON/);
  });
});

describe('models.json', () => {
  const base = {
    providers: { p: { kind: 'simulator' } },
    models: { m: { provider: 'p', model: 'x', endpoints: ['chat/completions'] } },
  };

  test('the shipped one is good', () => {
    expect(Object.keys(readModels().models)).toEqual(['default', 'embedding']);
  });

  test.each([
    [{ ...base, models: { m: { ...base.models.m, provider: 'q' } } }, /provider "q"/],
    [{ ...base, models: { m: { ...base.models.m, limits: {} } } }, /models\.m\.limits: sets no limit/],
    [
      { ...base, models: { m: { ...base.models.m, limits: { requests_per_minute: 0 } } } },
      /models\.m\.limits\.requests_per_minute: /,
    ],
    [{ ...base, models: { m: { ...base.models.m, limits: { rpm: 60 } } } }, /models\.m\.limits: .*rpm/],
    [{ ...base, agents: { a: { model: 'n' } } }, /agents\.a\.model.*"n"/],
    [{ ...base, vectors: { model: 'm' } }, /"embeddings"/],
    [{ ...base, providers: { p: { kind: 'other' } } }, /providers\.p\.kind/],
    [{ ...base, providers: { p: { kind: 'openai', base_url: 'ftp://x' } } }, /base_url/],
  ])('what does not fit together is named (%#)', (file, message) => {
    expect(() => readModels(written(file))).toThrow(message);
  });
});
