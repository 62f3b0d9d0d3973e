import type { Settings } from '../contract/settings.ts';
import { objectKeys } from '../domain/objectKeys.ts';
import { urlExpiry } from '../domain/urlExpiry.ts';
import type { Ports } from '../ports.ts';
import type { ProjectCaller } from './authenticate.ts';

const DAY_MS = 86_400_000;

/**
 * A pre-signed PUT of exactly `bytes` bytes; of that type, where one is named. `expiresAt` is the URL's; the upload
 * itself is good for days.
 */
export async function createUpload(
  deps: Pick<Ports, 'uploads' | 'files' | 'clock' | 'ids'> & { settings: Settings },
  { projectId }: ProjectCaller,
  { bytes, contentType }: { bytes: number; contentType: string | undefined },
): Promise<{ fileId: string; uploadUrl: string; expiresAt: number }> {
  const { uploadDays, uploadUrlSeconds } = deps.settings.files;
  const fileId = `file_${deps.ids.ulid()}`;
  const key = objectKeys.upload(projectId, fileId);
  const now = deps.clock.now();
  const expiresAt = now + uploadDays * DAY_MS;
  await deps.uploads.put({ projectId, fileId, key, bytes, contentType, createdAt: now, expiresAt });
  const uploadUrl = await deps.files.signUpload(key, { expiresSeconds: uploadUrlSeconds, bytes, contentType });
  return { fileId, uploadUrl, expiresAt: urlExpiry(now, uploadUrlSeconds) };
}
