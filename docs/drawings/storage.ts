import { keys } from '../../shared/adapters/dynamodb/keys.ts';
import { type FunctionSpec, functions } from '../../shared/contract/functions.ts';
import { DUE_PARTITIONS, TABLE } from '../../shared/contract/table.ts';
import { KEY_PREFIXES, objectKeys } from '../../shared/domain/objectKeys.ts';
import { SHARD_PARTITIONS } from '../../shared/domain/shard.ts';
import type { Synthesized } from './assembly.ts';
import { code, codes, table } from './table.ts';

const REF = { projectId: '<project>', batchId: '<batch>' };
type Key = ReturnType<typeof keys.head>;

/** Every record of the table; its keys come from the code that writes them. */
export function drawRecords(): string {
  const row = (record: string, key: Key, holds: string) => [
    record,
    code(key[TABLE.partitionKey].replace(/[0-9a-f]{64}/, '<sha256>')),
    code(key[TABLE.sortKey]),
    holds,
  ];
  return table(
    ['record', `${code(TABLE.partitionKey)}`, `${code(TABLE.sortKey)}`, 'holds'],
    [
      row(
        'batch (head)',
        keys.head(REF),
        'status, times, counts, outcome, plan, files, attempt and notification numbers',
      ),
      row('detail', keys.detail(REF.batchId), 'description, metadata, the first 100 errors, the receipt'),
      row('control', keys.control(REF.batchId), 'run or stop, why, the deadline: what workers poll'),
      row('snapshots', keys.snapshots(REF.batchId), 'which partial results there are'),
      row(
        'shard',
        keys.shard(REF.batchId, 12),
        `epoch, commits, bitmap of done lines, segments, attempts, deaths, sealed; here shard 12: ${SHARD_PARTITIONS} partitions a batch, by number`,
      ),
      row('API key', keys.apiKey('<hash>'), 'project, role, name, expiry, revocation'),
      row('entry of an API key', keys.apiKeyEntry('<key>'), 'where the key is: what the operator’s list reads'),
      row('webhook secret', keys.webhookSecret(REF.projectId), 'the signing secret, and earlier ones that still sign'),
      row('idempotency key', keys.idempotency(REF.projectId, ''), 'the batch that it made, and hashes of the body'),
      row(
        'circuit',
        keys.circuit('<model>'),
        'a model that is down as a whole: failures, when it is tried again, who tries',
      ),
      row(
        'call shares',
        keys.callShares('<model>', 0),
        'a model with limits: how far its time is taken, and each batch’s part; more records, by number, for high rates',
      ),
      row('open batches', keys.openBatches(REF.projectId), 'the places of open batches: ids, and since when'),
      row('requests of a minute', keys.requestQuota(REF.projectId, 0), 'how many were given out, a block at a time'),
      row('uploads of a day', keys.uploadQuota(REF.projectId, 0), 'how many, and how many bytes'),
      row('upload', keys.upload(REF.projectId, '<file>'), 'size, type and expiry of what was promised'),
    ],
  );
}

export function drawIndexes(): string {
  const { dueIndex, listIndex } = TABLE;
  return table(
    ['index', 'keys', 'names'],
    [
      [
        code(dueIndex.name),
        `${code(keys.duePartition(0))} … ${code(keys.duePartition(DUE_PARTITIONS - 1))} / ${code(dueIndex.sortKey)} (milliseconds)`,
        'batches that have not ended, or whose client was not told: when the check looks at them next. A hint; the head decides',
      ],
      [
        code(listIndex.name),
        `${code(keys.project(REF.projectId))} / batch id, with ${codes(listIndex.include)}`,
        'every batch, narrowly: for `skip`, `status=` and the sweep',
      ],
    ],
  );
}

/** Kinds of objects, what is in them, who may touch them, and when the bucket deletes them. */
export function drawObjects({ expiryDays }: Pick<Synthesized, 'expiryDays'>): string {
  const examples: Record<keyof typeof KEY_PREFIXES, string[]> = {
    uploads: [objectKeys.upload(REF.projectId, '<file>')],
    inputs: [objectKeys.input(REF, 1)],
    shards: [objectKeys.plan(REF, 1), objectKeys.mapInput(REF, 1, 2), `${KEY_PREFIXES.shards}map-results/…`],
    parts: [
      objectKeys.segment(REF, 12, 3, 4, '<nonce>'),
      objectKeys.manifest(REF, 12, 3, 4, '<nonce>'),
      objectKeys.invalid(REF, 1),
      objectKeys.checkpoint(REF, 1, 'finalize'),
    ],
    outputs: [objectKeys.output(REF, 1), objectKeys.errors(REF, 1), objectKeys.lineIndex(REF, 1)],
    snapshots: [objectKeys.snapshot(REF, 1, 'output')],
  };
  const specs = Object.entries(functions) as [string, FunctionSpec][];
  const who = (word: 'read' | 'write' | 'delete', kind: keyof typeof KEY_PREFIXES) =>
    specs.flatMap(([name, { rights }]) =>
      rights.files?.[word]?.includes(kind) ? [name.slice(name.indexOf('/') + 1)] : [],
    );
  return table(
    ['kind', 'for example (attempt 1)', 'written by', 'read by', 'deleted by', 'and by the bucket after'],
    (Object.keys(KEY_PREFIXES) as (keyof typeof KEY_PREFIXES)[]).map((kind) => [
      code(KEY_PREFIXES[kind]),
      examples[kind].map(code).join('<br/>'),
      who('write', kind).join(', '),
      who('read', kind).join(', '),
      who('delete', kind).join(', '),
      days(expiryDays(KEY_PREFIXES[kind])),
    ]),
  );
}

const days = (count: number) => `${count} ${count === 1 ? 'day' : 'days'}`;
