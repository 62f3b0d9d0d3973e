import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { ReceiptView } from '../shared/contract/receiptView.ts';
import { isEnded } from '../shared/domain/batchStatus.ts';
import type { ApiAnswer, ApiClient } from './apiClient.ts';
import { UsageError } from './exitCodes.ts';
import { fetchFile } from './fileTransfer.ts';
import { type MeasuredFile, measureFile } from './measuredFile.ts';
import { getBatch } from './watchBatch.ts';

export type SavedFile = MeasuredFile & { path: string };

/** The files of a batch: their names in a folder, and where an answer and a receipt have them. */
export const RESULT_FILES = [
  { name: 'output.jsonl', partialName: 'output.partial.jsonl', url: 'output_file_url', digest: 'output' },
  { name: 'errors.jsonl', partialName: 'errors.partial.jsonl', url: 'errors_file_url', digest: 'errors' },
] as const;
type ResultFile = (typeof RESULT_FILES)[number];

export async function getReceipt(client: ApiClient, id: string): Promise<ReceiptView> {
  return (await client.call('getReceipt', { params: { batch_id: id } })).body;
}

/**
 * Downloads the files of a batch that has ended. A file has its name only once it is whole and is what the receipt says;
 * until then it is beside it as `….<batch id>.part`, where a further download goes on. Files of other batches that have
 * these names are removed: they would be taken for this one's.
 */
export async function downloadResults(client: ApiClient, id: string, folder: string): Promise<SavedFile[]> {
  const receipt = await getReceipt(client, id);
  await makeFolder(folder);
  const saved = new Map<ResultFile, SavedFile>();
  const missing: { file: ResultFile; path: string; expected: Digest }[] = [];
  for (const file of RESULT_FILES) {
    const path = join(folder, file.name);
    const expected = receipt[file.digest];
    const there = await measureFile(path);
    if (expected && there?.sha256 === expected.sha256) saved.set(file, { path, ...there });
    else {
      await rm(path, { force: true });
      if (expected) missing.push({ file, path, expected });
    }
  }
  for (const { file, path, expected } of missing) {
    const partPath = `${path}.${id}.part`;
    const got = await fetchWhole(client, id, file, partPath, expected);
    await rename(partPath, path);
    saved.set(file, { path, ...got });
  }
  return RESULT_FILES.flatMap((file) => saved.get(file) ?? []);
}

type Digest = NonNullable<ReceiptView['output']>;

async function fetchWhole(
  client: ApiClient,
  id: string,
  file: ResultFile,
  partPath: string,
  expected: Digest,
): Promise<MeasuredFile> {
  const url = async () => {
    const { body } = await client.call('downloadBatch', { params: { batch_id: id } });
    const signed = body[file.url];
    if (signed === null) throw new Error(`The files of ${id} are no longer kept, so they cannot be downloaded.`);
    return signed;
  };
  let resumed = (await measureFile(partPath)) !== undefined;
  for (;;) {
    await fetchFile(partPath, url, expected.bytes);
    const got = await measureFile(partPath);
    if (got?.sha256 === expected.sha256) return got;
    await rm(partPath, { force: true });
    if (!resumed) throw new Error(`${file.name} came other than the receipt says: SHA-256 ${got?.sha256}.`);
    // What an earlier download left was not this file's beginning.
    resumed = false;
  }
}

export type PartialResults = { asOf: string | null; files: SavedFile[] };

/**
 * Downloads what a running batch has so far, once there is a snapshot, as `….partial.jsonl`: such a file must not look
 * whole. Undefined where the batch has ended: then its files can be had.
 */
export async function downloadPartial(
  client: ApiClient,
  id: string,
  folder: string,
  { maxWaitMs, onWait }: { maxWaitMs: number; onWait: () => void },
): Promise<PartialResults | undefined> {
  const until = performance.now() + maxWaitMs;
  for (let waited = false; ; waited = true) {
    if (isEnded((await getBatch(client, id)).status)) return undefined;
    const { status, retryAfterSeconds, body } = await client.call('downloadBatch', {
      params: { batch_id: id },
      query: { partial: 'true' },
    });
    if (status === 200) return await savePartial(body, folder);
    if (!waited) onWait();
    const waitMs = Math.max(1, retryAfterSeconds) * 1000;
    if (performance.now() + waitMs > until)
      throw new Error(`There was no snapshot of ${id} within ${maxWaitMs / 1000} s. Try again later.`);
    await pause(waitMs);
  }
}

async function savePartial(body: ApiAnswer<'downloadBatch'>['body'], folder: string): Promise<PartialResults> {
  await makeFolder(folder);
  const files: SavedFile[] = [];
  for (const { partialName, url } of RESULT_FILES) {
    const path = join(folder, partialName);
    await rm(path, { force: true });
    const signedUrl = body[url];
    if (signedUrl === null) continue;
    const partPath = `${path}.part`;
    await rm(partPath, { force: true });
    await fetchFile(partPath, async () => signedUrl);
    const got = await measureFile(partPath);
    if (!got) throw new Error(`${partPath} is gone.`);
    await rename(partPath, path);
    files.push({ path, ...got });
  }
  return { asOf: body.as_of ?? null, files };
}

/** Makes the folder for results. Throws `UsageError` where it cannot be. */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (cause) {
    throw new UsageError(`--out ${path} cannot be made: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}
