import { DeleteObjectsCommand, ListObjectsV2Command, type ListObjectsV2CommandOutput } from '@aws-sdk/client-s3';
import { KEY_PREFIXES } from '../../shared/domain/objectKeys.ts';
import type { Stores } from './stores.ts';

export const FILE_KINDS = Object.keys(KEY_PREFIXES) as (keyof typeof KEY_PREFIXES)[];
export type FileKind = (typeof FILE_KINDS)[number];
export type ProjectFiles = Record<FileKind, { objects: number; bytes: number }>;

type Bucket = Pick<Stores, 's3' | 'bucket'>;

/** A project's objects of one kind: every key is `<kind>/<project>/…`, and project ids hold no slash. */
const prefixOf = (kind: FileKind, projectId: string) => `${KEY_PREFIXES[kind]}${projectId}/`;

export async function countFiles(bucket: Bucket, projectId: string): Promise<ProjectFiles> {
  const counted = await Promise.all(
    FILE_KINDS.map(async (kind) => {
      const found = { objects: 0, bytes: 0 };
      for await (const page of list(bucket, prefixOf(kind, projectId))) {
        found.objects += page.length;
        for (const { bytes } of page) found.bytes += bytes;
      }
      return [kind, found] as const;
    }),
  );
  // One entry a kind.
  return Object.fromEntries(counted) as ProjectFiles;
}

/** Deletes page by page: a page of a listing is what one request deletes. */
export async function deleteFiles(bucket: Bucket, projectId: string, onDeleted: (more: number) => void): Promise<void> {
  for (const kind of FILE_KINDS) {
    for await (const page of list(bucket, prefixOf(kind, projectId))) {
      const { Errors = [] } = await bucket.s3.send(
        new DeleteObjectsCommand({
          Bucket: bucket.bucket,
          Delete: { Objects: page.map(({ key }) => ({ Key: key })), Quiet: true },
          ChecksumAlgorithm: 'CRC32',
        }),
      );
      const [first] = Errors;
      if (first) throw new Error(`${Errors.length} objects were not deleted: ${first.Key}: ${first.Message}`);
      onDeleted(page.length);
    }
  }
}

async function* list({ s3, bucket }: Bucket, prefix: string): AsyncGenerator<{ key: string; bytes: number }[]> {
  let after: string | undefined;
  do {
    // From the last key on, not by the token: that one is of a listing whose objects are being deleted.
    const page: ListObjectsV2CommandOutput = await s3.send(
      new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, ...(after !== undefined && { StartAfter: after }) }),
    );
    const objects = (page.Contents ?? []).flatMap(({ Key, Size }) => (Key ? [{ key: Key, bytes: Size ?? 0 }] : []));
    if (objects.length > 0) yield objects;
    after = page.IsTruncated ? objects.at(-1)?.key : undefined;
  } while (after !== undefined);
}
