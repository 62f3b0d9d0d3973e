import * as z from 'zod';
import type { UploadStore } from '../../ports.ts';
import type { Table } from './client.ts';
import { keys, ttlOf } from './keys.ts';
import { always, getRecord, parseRecord, putRecord } from './records.ts';

const UploadSchema = z.object({
  projectId: z.string(),
  fileId: z.string(),
  key: z.string(),
  bytes: z.int().nonnegative(),
  contentType: z.string().optional(),
  createdAt: z.int().nonnegative(),
  expiresAt: z.int().nonnegative(),
});

/** What `POST /files` promised: the key, size and type of an upload, for as long as it is good. */
export function createUploadStore(table: Table): UploadStore {
  return {
    async put(upload) {
      // File ids are new for each upload, so a repeat writes the same record again.
      const place = keys.upload(upload.projectId, upload.fileId);
      await putRecord(table, { ...place, ...upload, ...ttlOf(upload.expiresAt) }, always);
    },

    async get(projectId, fileId, now) {
      // The project is part of the key: another project's file is not found.
      const record = await getRecord(table, keys.upload(projectId, fileId));
      const upload = record && parseRecord(UploadSchema, record);
      return upload && upload.expiresAt > now ? upload : undefined;
    },
  };
}
