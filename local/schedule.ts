import { randomUUID } from 'node:crypto';
import type { InvocationResult } from './functions/invocation.ts';
import { ACCOUNT, REGION } from './template/localNames.ts';
import type { SchedulePlan } from './template/plan.ts';

/**
 * The first runs come soon after the start, and not at the rate: what the last run left behind is taken up at once, or
 * as soon as it is due. That is 10 s after the last look or write (`lookAgainSeconds` of the stage), and about 3 s of
 * them are over when a system that was killed is up again.
 */
const FIRST_AFTER_MS = [1_000, 4_000, 7_000, 10_000, 20_000] as const;

/** Fires each schedule at its rate, one run of it at a time. What a function answers is not looked at. */
export function startSchedules(
  schedules: readonly SchedulePlan[],
  invoke: (functionArn: string, event: unknown) => Promise<InvocationResult>,
  firstAfterMs: readonly number[] = FIRST_AFTER_MS,
): { close(): void } {
  const begun = Date.now();
  const timers = new Map<SchedulePlan, NodeJS.Timeout>();
  let closed = false;
  const fire = async (schedule: SchedulePlan): Promise<void> => {
    const startedAt = Date.now();
    await invoke(schedule.functionArn, schedule.input ?? scheduledEvent(schedule, new Date(startedAt)));
    if (!closed) plan(schedule, nextAt(schedule, startedAt));
  };
  const nextAt = (schedule: SchedulePlan, startedAt: number): number => {
    const early = firstAfterMs.map((afterMs) => begun + afterMs).find((at) => at > startedAt);
    return Math.min(early ?? Number.POSITIVE_INFINITY, startedAt + schedule.everyMs);
  };
  const plan = (schedule: SchedulePlan, at: number) => {
    timers.set(
      schedule,
      setTimeout(() => void fire(schedule), Math.max(0, at - Date.now())),
    );
  };
  for (const schedule of schedules) plan(schedule, nextAt(schedule, begun));
  return {
    close() {
      closed = true;
      for (const timer of timers.values()) clearTimeout(timer);
    },
  };
}

/** https://docs.aws.amazon.com/eventbridge/latest/ref/events-ref-schedule.html */
function scheduledEvent(schedule: SchedulePlan, now: Date): Record<string, unknown> {
  return {
    version: '0',
    id: randomUUID(),
    'detail-type': 'Scheduled Event',
    source: 'aws.events',
    account: ACCOUNT,
    time: now.toISOString().replace(/\.\d+Z$/, 'Z'),
    region: REGION,
    resources: [schedule.arn],
    detail: {},
  };
}
