import * as z from 'zod';
import type { Ports, UploadState } from '../../ports.ts';

/** Where a copy stopped: a line of JSON, then the bytes of the upload that no part holds yet. */
const HeadSchema = z.object({
  /** The source's ETag, the byte to go on from, and the source's length where it is known. */
  etag: z.string(),
  offset: z.int().nonnegative(),
  bytes: z.int().nonnegative().optional(),
  upload: z.object({ uploadId: z.string(), parts: z.int().nonnegative(), bytes: z.int().nonnegative() }),
});
export type FetchCheckpoint = { etag: string; offset: number; bytes?: number | undefined; upload: UploadState };

/** A part is 5 MiB at least and is not held much longer than that. */
const MAX_BYTES = 64 * 1024 * 1024;
const LF = 0x0a;

export async function saveCheckpoint(
  files: Pick<Ports['files'], 'put'>,
  key: string,
  { upload: { tail, ...upload }, ...source }: FetchCheckpoint,
): Promise<void> {
  const head = HeadSchema.parse({ ...source, upload });
  await files.put(key, Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), tail]));
}

/** Undefined where it is gone, or other code has left it: the copy then starts anew. */
export async function loadCheckpoint(
  files: Pick<Ports['files'], 'readSmall'>,
  key: string,
): Promise<FetchCheckpoint | undefined> {
  const bytes = await files.readSmall(key, MAX_BYTES);
  if (bytes === undefined) return undefined;
  const newline = bytes.indexOf(LF);
  const read = HeadSchema.safeParse(JSON.parse(Buffer.from(bytes.subarray(0, newline)).toString('utf8')));
  if (!read.success) return undefined;
  const { upload, ...head } = read.data;
  return { ...head, upload: { ...upload, tail: bytes.subarray(newline + 1) } };
}
