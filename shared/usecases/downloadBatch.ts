import { canDownload } from '../contract/batchView.ts';
import type { Settings } from '../contract/settings.ts';
import { isEnded } from '../domain/batchStatus.ts';
import { ApiError } from '../domain/errors.ts';
import { urlExpiry } from '../domain/urlExpiry.ts';
import type { Ports } from '../ports.ts';
import type { ProjectCaller } from './authenticate.ts';
import { findBatch } from './getBatch.ts';

/**
 * Pre-signed URLs of the batch's files, null for a file that it has not or no longer. `expiresAt`: when the URLs stop
 * working, where there is any. Throws `conflict` until the batch has ended.
 */
export async function downloadBatch(
  deps: Pick<Ports, 'batches' | 'files' | 'clock'> & { settings: Settings },
  caller: ProjectCaller,
  batchId: string,
): Promise<{ outputFileUrl: string | null; errorsFileUrl: string | null; expiresAt: number | undefined }> {
  const head = await findBatch(deps, caller, batchId);
  if (!isEnded(head.status))
    throw new ApiError('conflict', `The batch is ${head.status}: its files can be downloaded once it has ended.`);
  const now = deps.clock.now();
  const expiresSeconds = deps.settings.files.downloadUrlSeconds;
  const sign = async (file: 'outputFile' | 'errorsFile', name: string) => {
    const stored = head[file];
    if (stored === undefined || !canDownload(head, file, now)) return null;
    return deps.files.signDownload(stored.key, { expiresSeconds, fileName: `${batchId}-${name}.jsonl` });
  };
  const outputFileUrl = await sign('outputFile', 'output');
  const errorsFileUrl = await sign('errorsFile', 'errors');
  const expiresAt = outputFileUrl === null && errorsFileUrl === null ? undefined : urlExpiry(now, expiresSeconds);
  return { outputFileUrl, errorsFileUrl, expiresAt };
}
