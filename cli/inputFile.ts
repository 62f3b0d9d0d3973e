import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { createGunzip } from 'node:zlib';
import { UsageError } from './exitCodes.ts';
import { READ_BYTES } from './measuredFile.ts';

const EMBEDDINGS_URLS = new Set(['/vectors', '/v1/embeddings']);
/** A file whose first bytes tell nothing is left to the API's own checks. */
const BYTES_LOOKED_AT = 1024 * 1024;

export async function inputFileBytes(path: string): Promise<number> {
  try {
    const info = await stat(path);
    if (!info.isFile()) throw new UsageError(`${path} is not a file.`);
    if (info.size === 0) throw new UsageError(`${path} is empty. It should hold one JSON object a line.`);
    return info.size;
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new UsageError(`${path} cannot be read: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

async function isGzip(path: string): Promise<boolean> {
  await using file = await open(path);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(2), 0, 2, 0);
  return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
}

/** Guesses the batch's type from the `url` of its first lines. */
export async function guessType(path: string): Promise<'COMPLETIONS' | 'EMBEDDINGS'> {
  for (const line of (await firstText(path)).split('\n')) {
    const url = urlOf(line);
    if (url !== undefined) return EMBEDDINGS_URLS.has(url) ? 'EMBEDDINGS' : 'COMPLETIONS';
  }
  return 'COMPLETIONS';
}

/** What a file holds, unpacked where it is gzip, as the API reads it. */
export async function* unpacked(path: string): AsyncGenerator<Buffer, void, undefined> {
  const bytes = createReadStream(path, { highWaterMark: READ_BYTES });
  const source = (await isGzip(path)) ? bytes.pipe(createGunzip({ chunkSize: READ_BYTES })) : bytes;
  // A pipe hands on data and end, not errors.
  bytes.on('error', (error) => source.destroy(error));
  try {
    yield* source as AsyncIterable<Buffer>;
  } finally {
    bytes.destroy();
  }
}

async function firstText(path: string): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of unpacked(path)) {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= BYTES_LOOKED_AT) break;
    }
  } catch (error) {
    // Damaged gzip is the API's to report; what could be unpacked may tell enough.
    if (!(error instanceof Error && 'code' in error && String(error.code).startsWith('Z_'))) throw error;
  }
  return Buffer.concat(chunks).toString('utf8');
}

function urlOf(line: string): string | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value !== 'object' || value === null || !('url' in value)) return undefined;
    return typeof value.url === 'string' ? value.url : undefined;
  } catch (error) {
    // A bad line is the API's to report, with its number.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
