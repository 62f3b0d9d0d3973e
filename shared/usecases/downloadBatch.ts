import { canDownload } from '../contract/batchView.ts';
import type { Settings } from '../contract/settings.ts';
import type { BatchHead, StoredFile } from '../domain/batch.ts';
import { isEnded } from '../domain/batchStatus.ts';
import { ApiError } from '../domain/errors.ts';
import { urlExpiry } from '../domain/urlExpiry.ts';
import type { Ports } from '../ports.ts';
import type { ProjectCaller } from './authenticate.ts';
import { findBatch } from './getBatch.ts';

/** URLs of a batch's files, null for one that is not there. `expiresAt`: when they stop working, where there is any. */
export type SignedFiles = {
  outputFileUrl: string | null;
  errorsFileUrl: string | null;
  expiresAt: number | undefined;
};
type SigningDeps = Pick<Ports, 'files' | 'clock'> & { settings: Settings };

/**
 * Pre-signed URLs of the batch's files, null for a file that it has not or no longer. Throws `conflict` until the batch
 * has ended.
 */
export async function downloadBatch(
  deps: Pick<Ports, 'batches'> & SigningDeps,
  caller: ProjectCaller,
  batchId: string,
): Promise<SignedFiles> {
  const head = await findBatch(deps, caller, batchId);
  if (!isEnded(head.status))
    throw new ApiError(
      'conflict',
      `The batch is ${head.status}: its files can be downloaded once it has ended. What it has so far: ?partial=true.`,
    );
  return signResults(deps, head);
}

/** Those of an ended batch that have not expired. */
export function signResults(deps: SigningDeps, head: BatchHead): Promise<SignedFiles> {
  const now = deps.clock.now();
  const usable = (file: 'outputFile' | 'errorsFile') => (canDownload(head, file, now) ? head[file] : undefined);
  return signFiles(deps, head.batchId, { output: usable('outputFile'), errors: usable('errorsFile') });
}

/** `name` is what a browser's file names begin with. */
export async function signFiles(
  { files, clock, settings }: SigningDeps,
  name: string,
  { output, errors }: { output?: StoredFile | undefined; errors?: StoredFile | undefined },
): Promise<SignedFiles> {
  const now = clock.now();
  const expiresSeconds = settings.files.downloadUrlSeconds;
  const sign = async (file: StoredFile | undefined, kind: string) =>
    file ? files.signDownload(file.key, { expiresSeconds, fileName: `${name}-${kind}.jsonl` }) : null;
  const outputFileUrl = await sign(output, 'output');
  const errorsFileUrl = await sign(errors, 'errors');
  const expiresAt = outputFileUrl === null && errorsFileUrl === null ? undefined : urlExpiry(now, expiresSeconds);
  return { outputFileUrl, errorsFileUrl, expiresAt };
}
