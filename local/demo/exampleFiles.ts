import { createReadStream, existsSync, realpathSync, statSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';

/** The file that `encodedName` means inside `dir`; undefined for anything outside of it, links included. */
export function findExample(dir: string, encodedName: string): string | undefined {
  let name: string;
  try {
    name = decodeURIComponent(encodedName);
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
  const path = join(dir, name);
  if (name.includes('\0') || !existsSync(path)) return undefined;
  const real = realpathSync(path);
  return real.startsWith(realpathSync(dir) + sep) && statSync(real).isFile() ? real : undefined;
}

export async function serveExample(
  dir: string,
  encodedName: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = findExample(dir, encodedName);
  if (path === undefined) return void response.writeHead(404).end('Not found\n');
  const type = path.endsWith('.jsonl') ? 'application/jsonl' : 'application/octet-stream';
  response.writeHead(200, { 'content-type': type, 'content-length': statSync(path).size });
  if (request.method === 'HEAD') return void response.end();
  await pipeline(createReadStream(path), response);
}
