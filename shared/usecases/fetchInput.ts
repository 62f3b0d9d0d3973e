import { Readable } from 'node:stream';
import type { Settings } from '../contract/settings.ts';
import type { StepInput, StepOutput } from '../contract/steps.ts';
import { InputRejected } from '../domain/errors.ts';
import { objectKeys } from '../domain/objectKeys.ts';
import { FileChanged, FileMissing, type Invocation, type Ports } from '../ports.ts';
import { enterInputStep } from './enterInputStep.ts';
import { abandon, type Copied, type Copy, copyInput, interruptible, refuseOver } from './fetchInput/copyInput.ts';
import { type FetchCheckpoint, loadCheckpoint } from './fetchInput/fetchCheckpoint.ts';
import {
  BrokenOff,
  canResume,
  GZIP_MAGIC,
  isGzip,
  peek,
  readThrough,
  reopen,
  unpack,
} from './fetchInput/readSource.ts';
import { Interrupted, watchStop } from './fetchInput/stopWatch.ts';
import { rejectInput } from './rejectInput.ts';

type Deps = Pick<Ports, 'batches' | 'controls' | 'files' | 'sources' | 'uploads' | 'clock' | 'log'> & {
  settings: Settings;
};

/** How often a source that broke off and serves no ranges is read from its start again, within one invocation. */
const MAX_RESTARTS = 2;
const UPLOAD_URL = /^file:\/\/(.+)$/;

/**
 * Brings the input into the bucket, or pins an upload that is there. What is wrong with the source ends the batch as
 * failed; what is wrong with us is thrown, and the step is tried again.
 */
export async function fetchInput(
  deps: Deps,
  run: StepInput<'fetchInput'>,
  invocation: Invocation,
): Promise<StepOutput<'fetchInput'>> {
  const { version, projectId, batchId, attempt } = run;
  const answer = (next: StepOutput<'fetchInput'>['next']) => ({ version, projectId, batchId, attempt, next });
  const entered = await enterInputStep(deps, run);
  if (!entered.go) return answer(entered.next);
  const { ref, head } = entered;
  if (head.input !== undefined) return answer('validate');

  const watch = watchStop(deps, batchId, invocation);
  const copy: Copy = { deps, ref, attempt, invocation, startedAt: deps.clock.now(), signal: watch.signal };
  const fileId = UPLOAD_URL.exec(head.inputFileUrl)?.[1];
  const fetched = await orRejection(() =>
    fileId === undefined ? bringSource(deps, copy, head.inputFileUrl, run.checkpoint) : bringUpload(deps, copy, fileId),
  ).finally(() => watch.end());
  if (fetched instanceof InputRejected) return answer(await rejectInput(deps, ref, attempt, fetched));
  if (fetched.kind === 'stopped') return answer('finalize');
  if (fetched.kind === 'to_be_continued') return { ...answer('fetch'), checkpoint: fetched.checkpoint };
  if ((await deps.batches.setInput(ref, attempt, fetched.input)) === 'set') return answer('validate');

  // The key is this attempt's, but a twin of this invocation may have been faster and put it on the record.
  const ours = objectKeys.input(ref, attempt);
  const standing = await deps.batches.get(ref);
  if (standing?.input?.key !== ours) await deps.files.delete([ours]);
  return answer('end');
}

async function orRejection(work: () => Promise<Copied>): Promise<Copied | InputRejected> {
  try {
    return await work();
  } catch (error) {
    // Before there was anything to copy.
    if (error instanceof Interrupted && error.why === 'stop') return { kind: 'stopped' };
    if (error instanceof Interrupted)
      return new InputRejected('input_file_unreachable', 'The input file did not come in the time there is.');
    if (error instanceof InputRejected) return error;
    if (error instanceof BrokenOff) return error.rejection;
    if (error instanceof FileChanged || error instanceof FileMissing)
      return new InputRejected('input_file_changed', 'The uploaded file changed while it was read.', { cause: error });
    throw error;
  }
}

/** An upload is used in place, pinned by its ETag; a packed one is unpacked into our copy. */
async function bringUpload(deps: Deps, copy: Copy, fileId: string): Promise<Copied> {
  const upload = await deps.uploads.get(copy.ref.projectId, fileId, deps.clock.now());
  if (upload === undefined)
    throw new InputRejected(
      'input_file_unreachable',
      `There is no upload ${fileId} in this project, or it has expired.`,
    );
  const { key } = upload;
  const info = await deps.files.info(key);
  if (info === undefined) throw new InputRejected('input_file_unreachable', `Nothing has been uploaded to ${fileId}.`);
  const { bytes, etag } = info;
  if (bytes !== upload.bytes)
    throw new InputRejected(
      'input_file_changed',
      `The upload ${fileId} has ${bytes} bytes, but was announced with ${upload.bytes}.`,
    );
  // And read to their end: of a stream that is not S3 would have sent megabytes, and its connection would be lost.
  const start: Uint8Array[] = [];
  for await (const chunk of await deps.files.read(key, { ifMatch: etag, end: GZIP_MAGIC.length })) start.push(chunk);
  if (isGzip(Buffer.concat(start))) {
    const packed = await deps.files.read(key, { ifMatch: etag });
    return copyInput(copy, unpack(interruptible(copy, packed)), undefined);
  }
  refuseOver(deps.settings.limits.inputBytes, bytes);
  return { kind: 'fetched', input: { key, bytes, etag } };
}

async function bringSource(deps: Deps, copy: Copy, url: string, checkpointKey: string | undefined): Promise<Copied> {
  const checkpoint = checkpointKey === undefined ? undefined : await loadCheckpoint(deps.files, checkpointKey);
  if (checkpoint) {
    try {
      return await goOn(deps, copy, url, checkpoint);
    } catch (error) {
      // The bucket has let go of the unfinished upload: only a copy from the start is left to try.
      if (!(error instanceof FileMissing)) throw error;
      deps.log.warn('An unfinished copy of the input is gone.', { batchId: copy.ref.batchId });
    }
  }
  for (let restarts = 0; ; restarts++) {
    try {
      return await startSource(deps, copy, url);
    } catch (error) {
      if (!(error instanceof BrokenOff) || restarts === MAX_RESTARTS) throw error;
      deps.log.info('The source broke off and is read from its start again.', { batchId: copy.ref.batchId, restarts });
    }
  }
}

async function startSource(deps: Deps, copy: Copy, url: string): Promise<Copied> {
  const { signal } = copy;
  const opened = await deps.sources.open(url, { signal });
  const { start, chunks, close } = await peek(interruptible(copy, readThrough(deps, url, opened, 0, signal)));
  if ((opened.bytes ?? 0) > deps.settings.limits.inputBytes) await close();
  refuseOver(deps.settings.limits.inputBytes, opened.bytes ?? 0);
  if (isGzip(start)) return copyInput(copy, unpack(chunks), undefined);
  return copyInput(copy, chunks, canResume(opened) ? { etag: opened.etag, bytes: opened.bytes, offset: 0 } : undefined);
}

/** Goes on where an earlier invocation stopped. */
async function goOn(deps: Deps, copy: Copy, url: string, checkpoint: FetchCheckpoint): Promise<Copied> {
  const { offset, etag, bytes, upload } = checkpoint;
  // All was read, but time ran out before the copy was completed.
  if (offset === bytes) return copyInput(copy, Readable.from([]), checkpoint);
  const { signal } = copy;
  const opened = await reopen(deps.sources, url, offset, etag, signal).catch(async (error: unknown) => {
    if (error instanceof InputRejected || error instanceof Interrupted) await abandon(copy, upload);
    throw error;
  });
  const chunks = interruptible(copy, readThrough(deps, url, { ...opened, etag }, offset, signal));
  return copyInput(copy, chunks, checkpoint);
}
