import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { startSchedules } from '../../local/schedule.ts';
import type { SchedulePlan } from '../../local/template/plan.ts';

const MINUTE = 60_000;
const plan: SchedulePlan = { name: 'rule', arn: 'arn:rule', everyMs: MINUTE, functionArn: 'fn', input: undefined };

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it('fires soon after the start, and then at its rate', async () => {
  const at: number[] = [];
  const begun = Date.now();
  const schedules = startSchedules([plan], async () => ({ payload: at.push(Date.now() - begun) }), [1_000, 10_000]);
  await vi.advanceTimersByTimeAsync(3 * MINUTE);
  schedules.close();
  await vi.advanceTimersByTimeAsync(3 * MINUTE);
  expect(at).toEqual([1_000, 10_000, 10_000 + MINUTE, 10_000 + 2 * MINUTE]);
});

it('one run at a time: a long one puts the next off', async () => {
  let running = 0;
  let most = 0;
  const schedules = startSchedules([plan], async () => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 5 * MINUTE));
    running--;
    return { payload: null };
  }, [1_000]);
  await vi.advanceTimersByTimeAsync(20 * MINUTE);
  schedules.close();
  expect(most).toBe(1);
});

it('gives the event that EventBridge gives', async () => {
  const events: unknown[] = [];
  const schedules = startSchedules([plan], async (arn, event) => ({ payload: events.push([arn, event]) }), [1]);
  await vi.advanceTimersByTimeAsync(1);
  schedules.close();
  expect(events[0]).toMatchObject(['fn', { 'detail-type': 'Scheduled Event', resources: ['arn:rule'], detail: {} }]);
});
