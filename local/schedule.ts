import { randomUUID } from 'node:crypto';
import type { InvocationResult } from './functions/invocation.ts';
import { ACCOUNT, REGION } from './template/localNames.ts';
import type { SchedulePlan } from './template/plan.ts';

/** The first time comes soon after the start, so that what a restart left behind is taken up at once. */
const FIRST_AFTER_MS = 1_000;

/** Fires each schedule at its rate, one run of it at a time. What a function answers is not looked at. */
export function startSchedules(
  schedules: readonly SchedulePlan[],
  invoke: (functionArn: string, event: unknown) => Promise<InvocationResult>,
  firstAfterMs = FIRST_AFTER_MS,
): { close(): void } {
  const timers = new Map<SchedulePlan, NodeJS.Timeout>();
  let closed = false;
  const fire = async (schedule: SchedulePlan): Promise<void> => {
    const startedAt = Date.now();
    await invoke(schedule.functionArn, schedule.input ?? scheduledEvent(schedule, new Date(startedAt)));
    if (!closed) plan(schedule, Math.max(0, startedAt + schedule.everyMs - Date.now()));
  };
  const plan = (schedule: SchedulePlan, afterMs: number) => {
    timers.set(
      schedule,
      setTimeout(() => void fire(schedule), afterMs),
    );
  };
  for (const schedule of schedules) plan(schedule, Math.min(firstAfterMs, schedule.everyMs));
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
