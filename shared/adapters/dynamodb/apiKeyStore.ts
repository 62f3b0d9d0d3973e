import * as z from 'zod';
import { TABLE } from '../../contract/table.ts';
import type { ApiKey } from '../../domain/apiKey.ts';
import { ROLES } from '../../domain/roles.ts';
import type { ApiKeyStore } from '../../ports.ts';
import type { Table } from './client.ts';
import { keys } from './keys.ts';
import { batchGetRecords, getRecord, parseRecord, putRecord, queryRecords, updateRecord } from './records.ts';

const ApiKeySchema = z.object({
  keyId: z.string(),
  hash: z.string(),
  prefix: z.string(),
  projectId: z.string(),
  role: z.enum(ROLES),
  name: z.string(),
  createdAt: z.int().nonnegative(),
  expiresAt: z.int().nonnegative().optional(),
  revokedAt: z.int().nonnegative().optional(),
});

/** What the operator's list is made from: where the key's record is. */
const EntrySchema = z.object({ keyId: z.string(), hash: z.string() });

/**
 * API keys. The record lies under the key's hash, so that a request is let in by one read, and a revocation is one
 * write; an entry under the key's id, all in one partition, leads the operator to it. The entry is written first: a key
 * that works can be listed and revoked. No TTL: an operator wants to see what has expired or was revoked.
 */
export function createApiKeyStore(table: Table): ApiKeyStore {
  async function recordOf(keyId: string): Promise<ApiKey | undefined> {
    const entry = await getRecord(table, keys.apiKeyEntry(keyId));
    return entry && (await findByHash(parseRecord(EntrySchema, entry).hash));
  }

  async function findByHash(hash: string): Promise<ApiKey | undefined> {
    const record = await getRecord(table, keys.apiKey(hash));
    return record && toApiKey(record);
  }

  return {
    findByHash,
    get: recordOf,

    async put(key) {
      const { keyId, hash, projectId } = key;
      const own = { ...keys.apiKeyEntry(keyId), keyId, hash, projectId };
      if (!(await putRecord(table, own, (e) => `${e.absent('keyId')} OR ${e.equals('hash', hash)}`)))
        throw new Error(`The key id ${keyId} is taken`);
      if (await putRecord(table, { ...keys.apiKey(hash), ...key })) return;
      // This put again, its answer lost; never an overwrite, which could undo a revocation.
      if ((await findByHash(hash))?.keyId !== keyId) throw new Error(`The hash of the key ${keyId} is taken`);
    },

    async list({ take, after, projectId }) {
      const entries = queryRecords(table, {
        where: (e) => ({
          keys: e.equals(TABLE.partitionKey, keys.apiKeyPartition),
          ...(projectId !== undefined && { filter: e.equals('projectId', projectId) }),
        }),
        order: 'desc', // key ids are ULIDs: newest first
        ...(after !== undefined && { after: keys.apiKeyEntry(after) }),
        ...(projectId === undefined && { pageSize: take + 1 }),
      });
      const found: ApiKey[] = [];
      let page: string[] = [];
      const read = async () => {
        found.push(...(await readKeys(table, page)));
        page = [];
      };
      for await (const entry of entries) {
        page.push(parseRecord(EntrySchema, entry).hash);
        // Entries whose put died before the record are left out, so a page may have to be filled up.
        if (found.length + page.length > take) await read();
        if (found.length > take) break;
      }
      await read();
      return { keys: found.slice(0, take), hasMore: found.length > take };
    },

    async revoke(keyId, now) {
      const key = await recordOf(keyId);
      if (!key) return 'not_found';
      // The first time stays, so that a repeat changes nothing.
      const revoked = await updateRecord(table, keys.apiKey(key.hash), (e) => ({
        set: [e.setOnce('revokedAt', now)],
        when: e.exists(TABLE.partitionKey),
      }));
      return revoked ? 'revoked' : 'not_found';
    },
  };
}

async function readKeys(table: Table, hashes: string[]): Promise<ApiKey[]> {
  const records = await batchGetRecords(
    table,
    hashes.map((hash) => keys.apiKey(hash)),
  );
  const found = new Map(records.map((record) => toApiKey(record)).map((key) => [key.hash, key]));
  return hashes.flatMap((hash) => found.get(hash) ?? []);
}

function toApiKey(record: Record<string, unknown>): ApiKey {
  const { expiresAt, revokedAt, ...key } = parseRecord(ApiKeySchema, record);
  return { ...key, ...(expiresAt !== undefined && { expiresAt }), ...(revokedAt !== undefined && { revokedAt }) };
}
