import { createReadStream } from 'node:fs';
import { open, rm, stat } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { type Dispatcher, request } from 'undici';
import type { ApiClient } from './apiClient.ts';

/** Tries in a row that brought nothing before a transfer is given up. */
const TRIES = 5;
const pauseMs = (attempt: number) => 200 * 2 ** attempt;

/** Uploads a file, streamed; answers its `input_file_url`. */
export async function uploadFile(client: ApiClient, path: string, bytes: number): Promise<string> {
  const { body } = await client.call('createUpload', { body: { bytes } });
  for (let attempt = 1; ; attempt++) {
    const problem = await putFile(body.upload_url, path, bytes);
    if (problem === undefined) return body.input_file_url;
    if (!problem.again || attempt >= TRIES) throw new Error(`The upload of ${path} failed: ${problem.message}`);
    await pause(pauseMs(attempt));
  }
}

type Problem = { message: string; again: boolean };

/** PUTs it to a pre-signed URL; answers what went wrong. The URL takes another try: the object is whole or not there. */
async function putFile(url: string, path: string, bytes: number): Promise<Problem | undefined> {
  try {
    const answer = await request(url, {
      method: 'PUT',
      // The size is part of what was signed.
      headers: { 'content-type': 'application/jsonl', 'content-length': String(bytes) },
      body: createReadStream(path),
    });
    const text = await answer.body.text();
    if (answer.statusCode < 300) return undefined;
    return { message: `${answer.statusCode} ${text.slice(0, 300)}`, again: answer.statusCode >= 500 };
  } catch (error) {
    return { message: error instanceof Error ? error.message : String(error), again: true };
  }
}

/**
 * Downloads into `path`, going on behind what is there already, until it has `bytes` bytes (where they are not known:
 * as many as the first answer announces). `url` is asked before each try, since a signed one ends.
 */
export async function fetchFile(path: string, url: () => Promise<string>, bytes?: number): Promise<void> {
  let expectedBytes = bytes;
  let fruitless = 0;
  for (;;) {
    const had = await sizeOf(path);
    if (expectedBytes !== undefined && had === expectedBytes) return;
    if (expectedBytes === undefined ? had > 0 : had > expectedBytes) await rm(path, { force: true });
    const problem = await fetchOn(path, await url(), (announced) => {
      expectedBytes ??= announced;
    });
    const has = await sizeOf(path);
    if (problem === undefined && has === expectedBytes) return;
    fruitless = has > had ? 0 : fruitless + 1;
    const message = problem?.message ?? `it has ${has} bytes where ${expectedBytes} were announced`;
    if (problem?.again === false || fruitless >= TRIES) throw new Error(`The download broke off: ${message}`);
    await pause(pauseMs(fruitless));
  }
}

/** One request for what `path` lacks; answers what went wrong. What came is in the file. */
async function fetchOn(
  path: string,
  url: string,
  announce: (totalBytes: number) => void,
): Promise<Problem | undefined> {
  const from = await sizeOf(path);
  try {
    const answer = await request(url, { headers: from > 0 ? { range: `bytes=${from}-` } : {} });
    const { statusCode, body } = answer;
    if (statusCode !== 200 && statusCode !== 206) {
      const message = `${statusCode} ${(await body.text()).slice(0, 300)}`;
      // A URL that has ended is a 403, which the next one may open.
      return { message, again: statusCode >= 500 || statusCode === 403 || statusCode === 429 };
    }
    // Who does not know ranges sends it from its start.
    const start = statusCode === 206 ? from : 0;
    const length = Number(answer.headers['content-length'] ?? Number.NaN);
    if (Number.isSafeInteger(length)) announce(start + length);
    await append(path, start, body);
    return undefined;
  } catch (error) {
    return { message: error instanceof Error ? error.message : String(error), again: !isOfTheDisk(error) };
  }
}

async function append(path: string, start: number, body: Dispatcher.ResponseData['body']): Promise<void> {
  await using file = await open(path, start === 0 ? 'w' : 'a');
  for await (const chunk of body as AsyncIterable<Buffer>) await file.appendFile(chunk);
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 0;
    throw error;
  }
}

/** A full disk or a folder that may not be written to: the next try meets it as well. */
function isOfTheDisk(error: unknown): boolean {
  return (
    error instanceof Error && 'code' in error && /^(ENOSPC|EACCES|EROFS|EDQUOT|EISDIR|EPERM)$/.test(String(error.code))
  );
}
