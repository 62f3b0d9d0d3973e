import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createQuotaStore } from '../../shared/adapters/dynamodb/quotaStore.ts';
import { SettingsSchema } from '../../shared/contract/settings.ts';
import type { QuotaStore } from '../../shared/ports.ts';
import type { ProjectCaller } from '../../shared/usecases/authenticate.ts';
import { requestQuota } from '../../shared/usecases/requestQuota.ts';
import { startDynalite, type TestTable } from '../support/dynalite.ts';
import { recordedLog } from '../support/recordedLog.ts';
import { steadyClock } from '../support/steadyClock.ts';

let table: TestTable;
beforeAll(async () => {
  table = await startDynalite();
});
afterAll(() => table.close());

const MINUTE = Date.parse('2026-01-15T12:00:00.000Z');
let projects = 0;
const newCaller = (): ProjectCaller => ({ projectId: `project-${projects++}`, role: 'viewer' });

/** Sandboxes that share the table and the time, and what they write. */
function sandboxes(requestsPerMinute: number, count: number, quotas?: Partial<QuotaStore>, patienceMs = 60_000) {
  const clock = steadyClock(MINUTE + 20_500);
  const log = recordedLog();
  const store = { ...createQuotaStore(table), ...quotas };
  let writes = 0;
  const counted: QuotaStore = {
    ...store,
    countRequests: (...args) => {
      writes++;
      return store.countRequests(...args);
    },
  };
  const deps = { quotas: counted, clock, log, settings: SettingsSchema.parse({ quotas: { requestsPerMinute } }) };
  return {
    admit: Array.from({ length: count }, () => requestQuota(deps, patienceMs)),
    clock,
    log,
    writes: () => writes,
  };
}

async function admitted(admit: (caller: ProjectCaller) => Promise<void>, caller: ProjectCaller, count: number) {
  const results = await Promise.allSettled(Array.from({ length: count }, () => admit(caller)));
  return results.filter(({ status }) => status === 'fulfilled').length;
}

describe('requests of a project', () => {
  test('pass up to the quota, and the next is told quota, limit, what to do and when to come again', async () => {
    const { admit, clock } = sandboxes(5, 1);
    const [one] = admit as [(caller: ProjectCaller) => Promise<void>];
    const caller = newCaller();
    for (let n = 0; n < 5; n++) await one(caller);
    await expect(one(caller)).rejects.toMatchObject({
      error: 'rate_limit_exceeded',
      code: 429,
      headers: { 'Retry-After': '40' },
      message: expect.stringMatching(/project-\d+ has sent the 5 requests .*\(requestsPerMinute\).* Retry-After/),
    });
    clock.advance(39_500);
    for (let n = 0; n < 5; n++) await one(caller);
    await expect(one(caller)).rejects.toMatchObject({ headers: { 'Retry-After': '60' } });
  });

  test('of many sandboxes at once are never more in all', async () => {
    const { admit } = sandboxes(50, 4);
    const caller = newCaller();
    const passed = await Promise.all(admit.map((one) => admitted(one, caller, 100)));
    expect(passed.reduce((sum, count) => sum + count)).toBe(50);
  });

  test('cost a write a block, and none once they are refused', async () => {
    const { admit, writes } = sandboxes(1_000, 1);
    const [one] = admit as [(caller: ProjectCaller) => Promise<void>];
    const caller = newCaller();
    for (let n = 0; n < 30; n++) await one(caller);
    expect(writes()).toBe(3);
    for (let n = 30; n < 1_500; n++) await one(caller).catch(() => undefined);
    expect(writes()).toBe(100);
  });

  test('are refused too soon by no more than a block in each of the other sandboxes', async () => {
    const { admit } = sandboxes(1_000, 3);
    const caller = newCaller();
    const [one, two, three] = admit as [never, never, never];
    expect([await admitted(two, caller, 1), await admitted(three, caller, 1)]).toEqual([1, 1]);
    expect(await admitted(one, caller, 2_000)).toBe(980);
    expect(await admitted(two, caller, 20)).toBe(9);
  });

  test('do not touch those of another project', async () => {
    const { admit } = sandboxes(5, 1);
    const [one] = admit as [(caller: ProjectCaller) => Promise<void>];
    expect(await admitted(one, newCaller(), 500)).toBe(5);
    expect(await admitted(one, newCaller(), 5)).toBe(5);
  });

  test.each<[string, QuotaStore['countRequests']]>([
    ['refuses', () => Promise.reject(new Error('ThrottlingException'))],
    ['does not answer', () => new Promise(() => undefined)],
  ])('pass uncounted, and say so in the log, where the table %s', async (_, countRequests) => {
    const { admit, log, writes } = sandboxes(200, 1, { countRequests }, 50);
    const [one] = admit as [(caller: ProjectCaller) => Promise<void>];
    const caller = newCaller();
    for (let n = 0; n < 4; n++) await one(caller);
    expect(writes()).toBe(2);
    expect(log.lines).toHaveLength(2);
    expect(log.lines[0]).toMatchObject({ level: 'warn', fields: { project_id: caller.projectId } });
  });
});
