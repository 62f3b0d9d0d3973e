import { createHash } from 'node:crypto';
import * as z from 'zod';
import { ACTIVE_MS, HORIZON_MS } from '../../domain/retry/callShare.ts';
import type { CallShareStore } from '../../ports.ts';
import type { Table } from './client.ts';
import { keys } from './keys.ts';
import { getRecord, parseRecord, type StoredRecord, updateRecord } from './records.ts';

const SharesSchema = z.object({
  /** A timeline a project: up to when its share is taken, and when it last took some. */
  projects: z.record(z.string(), z.object({ freeAt: z.number(), seenAt: z.number() })).default({}),
});
type Shares = z.infer<typeof SharesSchema>['projects'];

/** A record ends at 400 KB; beyond so many projects those that are long gone are dropped. */
const MANY_PROJECTS = 50;
const GONE_MS = 10 * 60_000;
/** Of those that are gone, so many are dropped by one write. */
const DROPPED_AT_ONCE = 20;
/** Two that come in at once meet: each meeting is won by one of them. */
const TRIES = 4;

/** Project ids hold dots and dashes, which have a meaning in expressions. */
const keyOf = (projectId: string) => `p${createHash('sha256').update(projectId).digest('hex').slice(0, 24)}`;
const path = (projectKey: string, field?: 'freeAt' | 'seenAt') =>
  field === undefined ? `projects.${projectKey}` : `projects.${projectKey}.${field}`;

/** One record a model. A block is one conditional write: a second one where the timeline has fallen behind. */
export function createCallShareStore(table: Table): CallShareStore {
  const read = (record: StoredRecord | undefined): Shares => (record ? parseRecord(SharesSchema, record).projects : {});

  /** The project's first block, or its first after a while. */
  async function enter(model: string, own: string, shares: Shares, now: number): Promise<void> {
    // The others notice at their next block, within the horizon; until then they still take the whole.
    const freeAt = activeIn(shares, now) > 0 ? now + HORIZON_MS : now;
    const mine = { freeAt, seenAt: now };
    const entered = await updateRecord(table, keys.callShares(model), (e) => ({
      set: [e.equals(path(own), mine)],
      when: `${e.exists('projects')} AND (${e.absent(path(own))} OR ${e.name(path(own, 'seenAt'))} < ${e.value(now - ACTIVE_MS)})`,
    }));
    if (entered) return;
    await updateRecord(table, keys.callShares(model), (e) => ({
      set: [e.equals('projects', { [own]: mine })],
      when: e.absent('projects'),
    }));
  }

  async function dropGone(model: string, shares: Shares, now: number): Promise<void> {
    const gone = Object.entries(shares)
      .filter(([, { seenAt }]) => seenAt < now - GONE_MS)
      .slice(0, DROPPED_AT_ONCE);
    if (gone.length === 0) return;
    await updateRecord(table, keys.callShares(model), (e) => ({
      remove: gone.map(([key]) => e.name(path(key))),
      // One that has come back meanwhile keeps all: the next one tries again.
      when: gone.map(([key, { seenAt }]) => e.equals(path(key, 'seenAt'), seenAt)).join(' AND '),
    }));
  }

  return {
    async take(model, projectId, { costMs, now, projects }) {
      const own = keyOf(projectId);
      // Who does not know yet how many share the model looks first.
      const known = projects ?? Math.max(1, activeIn(read(await getRecord(table, keys.callShares(model))), now));
      const lengthMs = costMs * known;
      for (let tries = 0; tries < TRIES; tries++) {
        const ahead = await updateRecord(table, keys.callShares(model), (e) => {
          const freeAt = e.name(path(own, 'freeAt'));
          return {
            set: [e.increase(path(own, 'freeAt'), lengthMs), e.equals(path(own, 'seenAt'), now)],
            when: `${freeAt} >= ${e.value(now)} AND ${freeAt} <= ${e.value(now + HORIZON_MS)}`,
          };
        });
        const taken =
          ahead ??
          (await updateRecord(table, keys.callShares(model), (e) => ({
            set: [e.equals(path(own, 'freeAt'), now + lengthMs), e.equals(path(own, 'seenAt'), now)],
            when: `${e.name(path(own, 'freeAt'))} < ${e.value(now)} AND ${e.name(path(own, 'seenAt'))} >= ${e.value(now - ACTIVE_MS)}`,
          })));
        const shares = read(taken ?? (await getRecord(table, keys.callShares(model))));
        const mine = shares[own];
        const active = Math.max(1, activeIn(shares, now));
        if (taken && mine) {
          if (Object.keys(shares).length > MANY_PROJECTS) await dropGone(model, shares, now);
          return { taken: true, from: mine.freeAt - lengthMs, to: mine.freeAt, projects: active };
        }
        if (mine && mine.freeAt > now + HORIZON_MS)
          return { taken: false, comeAt: mine.freeAt - HORIZON_MS, projects: active };
        if (!mine || mine.seenAt < now - ACTIVE_MS) await enter(model, own, shares, now);
      }
      return { taken: false, comeAt: now + HORIZON_MS, projects: known };
    },

    async giveBack(model, projectId, { to, ms }) {
      const own = keyOf(projectId);
      await updateRecord(table, keys.callShares(model), (e) => ({
        set: [e.equals(path(own, 'freeAt'), to - ms)],
        when: e.equals(path(own, 'freeAt'), to),
      }));
    },
  };
}

function activeIn(shares: Shares, now: number): number {
  return Object.values(shares).filter(({ seenAt }) => seenAt >= now - ACTIVE_MS).length;
}
