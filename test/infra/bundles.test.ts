import { readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname } from 'node:path';
import undici from 'undici';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { bundlesBySize, startImports } from '../../bench/figures/bundles.ts';
import { FIGURES } from '../../bench/figureTable.ts';
import { defaultProvider } from '../../infra/bundled/credentialProviderNode.mjs';
import * as standIn from '../../infra/bundled/undici.mjs';

const MB = 1e6;

describe('the bundles', () => {
  const bundles = bundlesBySize();
  afterAll(() => {
    // Those with `models.json` beside them are copies.
    const copies = bundles.map(({ file }) => dirname(file)).filter((folder) => !folder.includes('node_modules'));
    for (const folder of copies) rmSync(folder, { recursive: true, force: true });
  });

  test('all load', async () => {
    const imports = await startImports();
    try {
      for (const { file } of bundles) await imports.ask({ file });
    } finally {
      await imports.close();
    }
  });

  test('are no larger than the figure allows', () => {
    const [largest] = bundles;
    expect(largest?.bytes).toBeLessThan(FIGURES.bundle_mb.floor * MB);
  });

  test.each([
    ["the parts of undici's index that no handler uses", 'WebSocketStream'],
    ["undici's second parser", 'UNDICI_USE_MILO'],
    ['the ways to credentials that Lambda does not take', 'sso_start_url'],
    ['event streams', ':event-type'],
  ])('do not hold %s', (_, text) => {
    for (const { name, file } of bundles) expect(readFileSync(file, 'utf8').includes(text), name).toBe(false);
  });
});

describe('what stands for undici', () => {
  test("has undici's own parts", () => {
    const { request: _, ...parts } = standIn;
    for (const [name, part] of Object.entries(parts)) expect(part).toBe(undici[name as keyof typeof undici]);
  });

  test('asks as undici does', async () => {
    const server = createServer((request, response) => {
      response.end(JSON.stringify([request.method, request.url, request.headers.host, request.headers['x-a']]));
    }).listen(0, '127.0.0.1');
    const agent = new undici.Agent();
    try {
      const { port } = await new Promise<AddressInfo>((resolve) => {
        server.once('listening', () => resolve(server.address() as AddressInfo));
      });
      const origin = `http://127.0.0.1:${port}`;
      for (const [path, options] of [
        ['', {}],
        ['/a/b?c=d&e=%20f#g', { headers: { 'x-a': 'b' } }],
        ['/a', { body: 'text' }],
        ['/?', { method: 'POST' as const, body: 'text' }],
        ['//a', { method: 'HEAD' as const }],
      ] as const) {
        const asked = [undici.request, standIn.request].map(async (request) => {
          const answer = await request(new URL(`${origin}${path}`), { ...options, dispatcher: agent });
          return [answer.statusCode, await answer.body.text()];
        });
        const [expected, actual] = await Promise.all(asked);
        expect(actual).toEqual(expected);
      }
    } finally {
      await agent.destroy();
      server.close();
    }
  });
});

describe("what stands for the SDK's chain of credentials", () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  test('takes those that Lambda gives as variables', async () => {
    vi.stubEnv('AWS_ACCESS_KEY_ID', 'id');
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'secret');
    vi.stubEnv('AWS_SESSION_TOKEN', 'token');
    expect(await defaultProvider()()).toMatchObject({
      accessKeyId: 'id',
      secretAccessKey: 'secret',
      sessionToken: 'token',
    });
  });

  test('says so where there are none', async () => {
    vi.stubEnv('AWS_ACCESS_KEY_ID', undefined);
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', undefined);
    await expect(defaultProvider()()).rejects.toThrow('environment variable credentials');
  });
});
