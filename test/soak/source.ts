import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';

/** How an input file is served. */
export const SERVINGS = ['plain', 'gzip', 'encoded', 'dripping', 'breaking', 'busy_first'] as const;
export type Serving = (typeof SERVINGS)[number];

const DRIP_PAUSE_MS = 400;

/** The web host of clients whose input is not uploaded: serves files in well and badly behaved ways. */
export async function startSource() {
  const files = new Map<string, { body: Buffer; serving: Serving; requests: number; drips: number }>();
  const server = createServer((request, response) => {
    response.on('error', () => {});
    const file = files.get(request.url ?? '');
    if (!file) return void response.writeHead(404).end();
    file.requests++;
    const { body, serving } = file;
    if (serving === 'busy_first' && file.requests === 1) return void response.writeHead(503).end();
    if (serving === 'encoded') return void response.writeHead(200, { 'content-encoding': 'gzip' }).end(body);
    if (serving !== 'breaking' && serving !== 'dripping')
      return void response.writeHead(200, { 'content-length': body.length }).end(body);
    const rest = beginRange(request.headers.range, response, body);
    if (serving === 'dripping') void drip(response, rest, Math.ceil(body.length / file.drips));
    else if (file.requests > 1) response.end(rest);
    // The first answer is cut off in its middle.
    else response.write(rest.subarray(0, rest.length / 2), () => setImmediate(() => response.destroy()));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // A TCP server that is listening has an address of this shape.
  const { port } = server.address() as AddressInfo;
  return {
    /** Answers the URL. `drips`: into how many pieces a dripping file falls. */
    offer(name: string, content: Buffer, serving: Serving, drips: number): string {
      const isPacked = serving === 'gzip' || serving === 'encoded';
      const path = `/${name}.jsonl${serving === 'gzip' ? '.gz' : ''}`;
      files.set(path, { body: isPacked ? gzipSync(content) : content, serving, requests: 0, drips });
      return `http://127.0.0.1:${port}${path}`;
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

async function drip(response: ServerResponse, body: Buffer, size: number): Promise<void> {
  for (let at = 0; at < body.length && !response.destroyed; at += size) {
    response.write(body.subarray(at, at + size));
    await sleep(DRIP_PAUSE_MS);
  }
  response.end();
}

/** The head of an answer of a file that does not change; answers the bytes that are to come. */
function beginRange(range: string | undefined, response: ServerResponse, body: Buffer): Buffer {
  const start = Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0);
  const head = { etag: '"same"', 'accept-ranges': 'bytes', 'content-length': body.length - start };
  if (range === undefined) response.writeHead(200, head);
  else response.writeHead(206, { ...head, 'content-range': `bytes ${start}-${body.length - 1}/${body.length}` });
  return body.subarray(start);
}
