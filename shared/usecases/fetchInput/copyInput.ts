import type { Settings } from '../../contract/settings.ts';
import type { BatchRef, InputFile } from '../../domain/batch.ts';
import { InputRejected } from '../../domain/errors.ts';
import { objectKeys } from '../../domain/objectKeys.ts';
import type { FileUpload, Invocation, Ports, UploadState } from '../../ports.ts';
import { saveCheckpoint } from './fetchCheckpoint.ts';
import { Interrupted, isOutOfTime } from './stopWatch.ts';

/** One attempt's copy of the input, and how far the invocation that makes it may go. */
export type Copy = {
  deps: Pick<Ports, 'files' | 'controls' | 'clock' | 'log'> & { settings: Settings };
  ref: BatchRef;
  attempt: number;
  invocation: Invocation;
  /** When the invocation began. */
  startedAt: number;
  /** Aborted with `Interrupted` once the batch is to stop, or time is up. */
  signal: AbortSignal;
};

export type Copied =
  | { kind: 'fetched'; input: InputFile }
  | { kind: 'stopped' }
  /** Out of time; the next invocation goes on from here. */
  | { kind: 'to_be_continued'; checkpoint: string };

/** A source that can be gone on with: what a later invocation has to know of it, and where this one starts. */
export type Resumable = { etag: string; bytes?: number | undefined; offset: number; upload?: UploadState };

/** Streams into our copy, within the limit of the unpacked size. */
export async function copyInput(
  copy: Copy,
  chunks: AsyncIterable<Uint8Array>,
  resumable: Resumable | undefined,
): Promise<Copied> {
  const { deps, ref, attempt } = copy;
  const key = objectKeys.input(ref, attempt);
  const upload = await deps.files.upload(key, {
    contentType: 'application/jsonl',
    ...(resumable?.upload ? { resume: resumable.upload } : {}),
  });
  const from = resumable?.offset ?? 0;
  let offset = from;
  try {
    for await (const chunk of chunks) {
      offset += chunk.length;
      refuseOver(deps.settings.limits.inputBytes, offset);
      await upload.write(chunk);
    }
    const { bytes, etag } = await upload.complete();
    return { kind: 'fetched', input: { key, bytes, etag } };
  } catch (error) {
    const tooSlow = tooSlowToGoOn(copy, offset - from);
    if (error instanceof Interrupted && error.why === 'time' && resumable && !tooSlow) {
      const { etag, bytes } = resumable;
      const checkpoint = objectKeys.checkpoint(ref, attempt, 'fetch');
      await saveCheckpoint(deps.files, checkpoint, { etag, bytes, offset, upload: await upload.suspend() });
      return { kind: 'to_be_continued', checkpoint };
    }
    await abandon(copy, upload);
    if (!(error instanceof Interrupted)) throw error;
    if (error.why === 'stop') return { kind: 'stopped' };
    if (tooSlow) throw tooSlow;
    throw new InputRejected(
      'input_file_unreachable',
      `The input file could not be read in the time there is: ${offset} bytes were. It cannot be gone on with later, since it is gzip or its server serves no ranges with an ETag.`,
    );
  }
}

function tooSlowToGoOn({ deps, startedAt }: Copy, bytes: number): InputRejected | undefined {
  const { minBytesPerSecond } = deps.settings.fetch;
  const seconds = (deps.clock.now() - startedAt) / 1000;
  if (bytes >= seconds * minBytesPerSecond) return undefined;
  return new InputRejected(
    'input_file_unreachable',
    `The input file comes too slowly: ${bytes} bytes in ${Math.round(seconds)} s, and at least ${minBytesPerSecond} a second are needed.`,
  );
}

/** What went wrong before matters more than parts left over, which the bucket's lifecycle rule deletes. */
export async function abandon({ deps, ref, attempt }: Copy, upload: FileUpload | UploadState): Promise<void> {
  try {
    const open =
      'abort' in upload ? upload : await deps.files.upload(objectKeys.input(ref, attempt), { resume: upload });
    await open.abort();
  } catch (error) {
    deps.log.warn('An unfinished copy of the input was not deleted.', { batchId: ref.batchId, error });
  }
}

export function refuseOver(limit: number, bytes: number): void {
  if (bytes > limit)
    throw new InputRejected('file_too_large', `The input file has more than the ${limit} bytes that are allowed.`);
}

/**
 * Looks at the clock, the signal and the size at every chunk, before any unpacking: a source that drips is seen, too, and
 * so is one whose gzip unpacks to nothing for ever.
 */
export async function* interruptible(
  { deps, invocation, signal }: Copy,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    refuseOver(deps.settings.limits.inputBytes, bytes);
    yield chunk;
    signal.throwIfAborted();
    if (isOutOfTime(deps.settings, invocation)) throw new Interrupted('time');
  }
}
