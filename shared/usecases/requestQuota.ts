import type { Settings } from '../contract/settings.ts';
import { MINUTE_MS, quotaExceeded, secondsUntil, windowOf } from '../domain/quotas.ts';
import type { Ports } from '../ports.ts';
import type { ProjectCaller } from './authenticate.ts';
import { settleWithin } from './settleWithin.ts';

/**
 * A sandbox counts a hundredth of the limit at a time, and lets so many requests pass without another write: a project
 * costs a hundred writes a minute at most. What it does not use of a block is lost to the others for that minute.
 */
const BLOCKS_A_MINUTE = 100;
/** The table answers in milliseconds. Beyond this a request, which has 29 s, is worth more than an exact number. */
const PATIENCE_MS = 3_000;

type Lease = { left: number; isUsedUp: boolean; renewing?: Promise<void> | undefined };

/**
 * Refuses the requests of a project beyond its quota of the minute; never lets through more, and may refuse some sooner:
 * the unused rest of a block in each of the sandboxes. Kept for as long as the sandbox lives.
 */
export function requestQuota(
  { quotas, clock, log, settings }: Pick<Ports, 'quotas' | 'clock' | 'log'> & { settings: Settings },
  patienceMs = PATIENCE_MS,
): (caller: ProjectCaller) => Promise<void> {
  const limit = settings.quotas.requestsPerMinute;
  const block = Math.max(1, Math.floor(limit / BLOCKS_A_MINUTE));
  let minute = windowOf(0, MINUTE_MS);
  /** Of this minute: no more than there were projects that called in it. */
  const leases = new Map<string, Lease>();

  async function renew(lease: Lease, projectId: string): Promise<void> {
    try {
      let sum: number | undefined;
      const counting = quotas.countRequests(projectId, minute, block).then((counted) => {
        sum = counted;
      });
      await settleWithin(counting, patienceMs);
      if (sum === undefined) throw new Error('The count took too long');
      const before = sum - block;
      lease.left += Math.min(block, Math.max(0, limit - before));
      lease.isUsedUp = sum >= limit;
    } catch (error) {
      // A quota protects others; it must not be what keeps a project out. The gateway's throttle still holds.
      log.warn('requests could not be counted: a block of them passes uncounted', { project_id: projectId, error });
      lease.left += block;
    }
  }

  return async ({ projectId }) => {
    const now = clock.now();
    const current = windowOf(now, MINUTE_MS);
    if (current.start !== minute.start) {
      leases.clear();
      minute = current;
    }
    const lease = leases.get(projectId) ?? { left: 0, isUsedUp: false };
    leases.set(projectId, lease);
    // Where a sandbox has several requests at the same time, they share one renewal, and may use up each other's block.
    while (lease.left === 0 && !lease.isUsedUp) {
      lease.renewing ??= renew(lease, projectId).finally(() => {
        lease.renewing = undefined;
      });
      await lease.renewing;
    }
    if (lease.left > 0) {
      lease.left--;
      return;
    }
    throw quotaExceeded(
      `The project ${projectId} has sent the ${limit} requests that its quota allows in a minute (requestsPerMinute). Wait as long as Retry-After says, ask less often, or ask the operator for more.`,
      secondsUntil(current.end, now),
    );
  };
}
