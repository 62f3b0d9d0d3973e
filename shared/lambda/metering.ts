import { isMainThread } from 'node:worker_threads';
import { createMeter, type MeteredService } from '../adapters/metering/meter.ts';
import { type MeteredClient, meterClient } from '../adapters/metering/meterClient.ts';
import { createLog } from '../adapters/system/log.ts';
import { METERED_MESSAGE, type MeteredLine } from '../contract/metered.ts';
import { isMetered } from './environment.ts';

/** One a sandbox; none where the stage does not ask for it, so that nothing is added to any call. */
const meter = isMetered() ? createMeter() : undefined;
// A log of its own: who asks for figures gets them, whatever else is not to be logged.
const log = meter && createLog({ service: 'meter', level: 'INFO' });
let isFirst = true;

/** Counts the calls of the client where the stage meters. */
export function metered<C extends MeteredClient>(service: MeteredService, client: C): C {
  return meter ? meterClient(client, service, meter) : client;
}

type Use = Pick<MeteredLine, 'batch_id' | 'next'>;
type Context = { memoryLimitInMB: string };

/**
 * The handler as it is, or with one line of log after each invocation. What an invocation has used that is killed, or
 * runs into its timeout, is not told by anybody: its line is missing.
 */
export function meteredHandler<E, C extends Context, R>(
  of: Pick<MeteredLine, 'function' | 'kind'>,
  handler: (event: E, context: C) => Promise<R>,
  describe: (event: E, end: { answer?: R | undefined }) => Use = () => ({}),
): (event: E, context: C) => Promise<R> {
  if (!meter || !log) return handler;
  return async (event, context) => {
    const startMs = performance.now();
    const cpu = process.cpuUsage();
    // Since the process was started. A thread (as the local run's API has) does not know its own start.
    const first = isFirst && isMainThread ? { init_ms: Math.ceil(startMs) } : {};
    isFirst = false;
    let answer: R | undefined;
    try {
      answer = await handler(event, context);
      return answer;
    } finally {
      // Lambda charges by the started millisecond.
      const duration_ms = Math.ceil(performance.now() - startMs);
      const fields: Omit<MeteredLine, 'message' | 'timestamp'> = {
        ...of,
        ...describe(event, { answer }),
        duration_ms,
        ...first,
        ...(isMainThread ? { cpu_ms: cpuMsSince(cpu) } : {}),
        memory_mb: Number(context.memoryLimitInMB),
        ...meter.take(),
      };
      log.info(METERED_MESSAGE, fields);
    }
  };
}

function cpuMsSince(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return Math.round((user + system) / 1_000);
}
