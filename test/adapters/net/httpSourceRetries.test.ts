import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, test, vi } from 'vitest';
import { createHttpSource } from '../../../shared/adapters/net/httpSource.ts';
import { startWebServer, type WebServer } from '../../support/webServer.ts';

// The pauses are what is tested: they are counted, not waited for.
vi.mock('node:timers/promises', () => ({ setTimeout: vi.fn(async () => undefined) }));

let server: WebServer;
afterEach(() => server.close());

test.each([408, 429, 500, 503])(
  'an input file whose server answers %d gets five tries over 10 to 20 s',
  async (status) => {
    server = await startWebServer((_, response) => response.writeHead(status).end());
    const source = createHttpSource({ allowPrivateNetworks: true, idleTimeoutMs: 1_000, maxRedirects: 3 });
    vi.mocked(pause).mockClear();
    await expect(source.open(server.url)).rejects.toMatchObject({ code: 'input_file_unreachable' });
    expect(server.requests).toHaveLength(5);
    const waitedMs = vi.mocked(pause).mock.calls.reduce((sum, [ms]) => sum + (ms ?? 0), 0);
    expect(waitedMs).toBeGreaterThanOrEqual(10_000);
    expect(waitedMs).toBeLessThanOrEqual(20_000);
  },
);
