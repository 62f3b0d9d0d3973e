import type { ModelLimits } from '../../shared/domain/retry/callShare.ts';
import type { Clock } from '../../shared/ports.ts';
import type { CallGate, GatedCall } from '../../shared/usecases/runShard/callGate.ts';
import type { CalledLine } from '../../shared/usecases/runShard/callLine.ts';
import { createShareGate } from '../../shared/usecases/runShard/shareGate.ts';
import { createWakeUp } from '../../shared/usecases/runShard/wakeUp.ts';
import { VirtualTime } from '../simulation/virtualTime.ts';
import { memoryCallShares } from './callShares.ts';
import { type Random, seededRandom } from './random.ts';
import { recordedLog } from './recordedLog.ts';

export type SimulatedWorker = {
  projectId: string;
  batchId?: string;
  lines: number;
  /** Calls that it may have in flight. */
  window?: number;
  /** When it begins, and when it is killed, from the start of the test. */
  startsAt?: number;
  diesAt?: number;
  /** How far its clock is ahead of the others'. */
  skewMs?: number;
};

export type ModelWorld = {
  limits: ModelLimits;
  seed: number;
  latencyMs?: [number, number];
  /** What each call takes. */
  tokens?: (random: Random) => number;
  maxTokens?: number;
  /** Whether the table fails at that time from the start. */
  tableFails?: (ms: number) => boolean;
  /** The table forgets to compare. */
  blind?: boolean;
};

/** A call as the model sees it; `at` from the start of the test; `inFlight`: how many there are with it. */
export type SeenCall = { at: number; projectId: string; batchId: string; tokens: number; inFlight?: number };

/** Workers that do nothing but call one model through their gates, in virtual time. */
export async function callTogether(world: ModelWorld, workers: SimulatedWorker[], untilMs = Number.POSITIVE_INFINITY) {
  const { limits, seed, latencyMs = [200, 2_000] } = world;
  const random = seededRandom(seed);
  const time = new VirtualTime(1_768_471_200_000);
  const start = time.now;
  const log = recordedLog();
  const calls: SeenCall[] = [];
  const endedAt: number[] = [];
  const shares = memoryCallShares(async () => {
    if (world.tableFails?.(time.now - start)) throw new Error('the table is not to be had');
    await time.clock.sleep(random.int(1, 8));
  }, world);
  let inFlightOfAll = 0;

  async function work(worker: SimulatedWorker, index: number): Promise<void> {
    const { projectId, batchId = `${projectId}-1`, window = 64, skewMs = 0 } = worker;
    const own = random.fork(`worker ${index}`);
    await time.clock.sleep(worker.startsAt ?? 0);
    const clock: Clock = { now: () => time.now + skewMs, sleep: time.clock.sleep };
    const wake = createWakeUp(clock);
    const ready = Array.from({ length: worker.lines }, () => wantedLine(world.maxTokens));
    let inFlight = 0;
    const gate: CallGate = createShareGate(
      { callShares: shares.store, clock, random: own, log },
      {
        ...{ model: 'm', limits, holder: { projectId, batchId }, workers: countAlike(workers, worker) },
        demand: () => ({ ready, room: window - inFlight }),
        othersOpenAt: (now) => now,
      },
    );
    const dead = () => time.now - start >= Math.min(worker.diesAt ?? untilMs, untilMs);
    const call = async (line: CalledLine) => {
      const tokens = world.tokens?.(own) ?? 0;
      const call: GatedCall = { line, beganAt: clock.now(), blame: () => undefined };
      gate.began(call);
      inFlight++;
      calls.push({ at: time.now - start, projectId, batchId, tokens, inFlight: ++inFlightOfAll });
      await clock.sleep(own.int(...latencyMs));
      inFlight--;
      inFlightOfAll--;
      gate.ended(call, { usage: { inputTokens: tokens, outputTokens: 0 } });
    };
    while (ready.length > 0 || inFlight > 0) {
      if (dead()) return;
      const now = clock.now();
      if (ready.length > 0) void gate.prepare(now)?.then(wake.now);
      while (ready.length > 0 && inFlight < window && gate.opensAt(now) <= now) {
        const line = ready.shift();
        if (line) void call(line).then(wake.now);
      }
      const opensAt = gate.opensAt(now);
      const until = ready.length > 0 && opensAt > now ? opensAt : Number.POSITIVE_INFINITY;
      // Looks at its death now and then, as a worker looks at the control record.
      await wake.waitUntil(Math.min(until, now + 1_000));
    }
    await gate.close?.({ goesOn: false });
    wake.close();
    endedAt[index] = time.now - start;
  }
  await time.run(Promise.all(workers.map(work)));
  return {
    calls: calls.sort((a, b) => a.at - b.at),
    /** When each worker was through, from the start; undefined for one that died. */
    endedAt,
    writes: shares.writes,
    records: shares.records.size,
    conflicts: shares.conflicts,
    log,
  };
}

const countAlike = (workers: SimulatedWorker[], { projectId, batchId }: SimulatedWorker) =>
  workers.filter((other) => other.projectId === projectId && other.batchId === batchId).length;

/** A line that wants the model `m`. */
export function wantedLine(maxTokens?: number): CalledLine {
  const body = { messages: [], ...(maxTokens === undefined ? {} : { max_tokens: maxTokens }) };
  const call = { kind: 'call', provider: 'p', model: 'm', endpoint: 'chat/completions', body } as const;
  const request = { kind: 'openai', customId: '1', endpoint: 'chat/completions', model: 'm', body } as const;
  return { line: 1, request, call, idempotencyKey: 'k' };
}

/** The most that any `windowMs` in a row hold. */
export function mostWithin(calls: SeenCall[], windowMs: number, weight: (call: SeenCall) => number = () => 1): number {
  let most = 0;
  let sum = 0;
  let first = 0;
  for (const call of calls) {
    sum += weight(call);
    for (let oldest = calls[first]; oldest && oldest.at <= call.at - windowMs; oldest = calls[++first])
      sum -= weight(oldest);
    most = Math.max(most, sum);
  }
  return most;
}

export const callsOf = (calls: SeenCall[], projectId: string, from = 0, to = Number.POSITIVE_INFINITY) =>
  calls.filter((call) => call.projectId === projectId && call.at >= from && call.at < to);
