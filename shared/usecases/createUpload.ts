import type { Settings } from '../contract/settings.ts';
import { objectKeys } from '../domain/objectKeys.ts';
import { DAY_MS, quotaExceeded, secondsUntil, windowOf } from '../domain/quotas.ts';
import { urlExpiry } from '../domain/urlExpiry.ts';
import type { Ports } from '../ports.ts';
import type { ProjectCaller } from './authenticate.ts';

/**
 * A pre-signed PUT of exactly `bytes` bytes; of that type, where one is named. `expiresAt` is the URL's; the upload
 * itself is good for days. Throws `rate_limit_exceeded` beyond what the project may upload in a day.
 */
export async function createUpload(
  deps: Pick<Ports, 'uploads' | 'quotas' | 'files' | 'clock' | 'ids'> & { settings: Settings },
  { projectId }: ProjectCaller,
  { bytes, contentType }: { bytes: number; contentType: string | undefined },
): Promise<{ fileId: string; uploadUrl: string; expiresAt: number }> {
  const { uploadDays, uploadUrlSeconds } = deps.settings.files;
  const fileId = `file_${deps.ids.ulid()}`;
  const key = objectKeys.upload(projectId, fileId);
  const now = deps.clock.now();
  await countUpload(deps, projectId, bytes, now);
  const expiresAt = now + uploadDays * DAY_MS;
  await deps.uploads.put({ projectId, fileId, key, bytes, contentType, createdAt: now, expiresAt });
  const uploadUrl = await deps.files.signUpload(key, { expiresSeconds: uploadUrlSeconds, bytes, contentType });
  return { fileId, uploadUrl, expiresAt: urlExpiry(now, uploadUrlSeconds) };
}

/** Counts what was announced, whether it is ever uploaded or not. Where it cannot be counted no upload can be recorded. */
async function countUpload(
  { quotas, settings }: Pick<Ports, 'quotas'> & { settings: Settings },
  projectId: string,
  bytes: number,
  now: number,
): Promise<void> {
  const { uploadsPerDay: maxUploads, uploadBytesPerDay: maxBytes } = settings.quotas;
  const day = windowOf(now, DAY_MS);
  if ((await quotas.countUpload(projectId, day, { bytes, maxUploads, maxBytes })) === 'counted') return;
  throw quotaExceeded(
    `With this upload of ${bytes} bytes the project ${projectId} would have more in this day (UTC) than its quota allows: ${maxUploads} uploads (uploadsPerDay), ${maxBytes} bytes (uploadBytesPerDay). Upload what was announced already, go on tomorrow, give an https:// or s3:// URL as input_file_url, or ask the operator for more.`,
    secondsUntil(day.end, now),
  );
}
