import type { Meter, MeteredService } from './meter.ts';

/**
 * What of an AWS SDK client the meter needs; every client has it, each with types of its own for input and output.
 * https://docs.aws.amazon.com/AWSJavaScriptSDK/v3/latest/ (middleware stack)
 */
export type MeteredClient = {
  middlewareStack: {
    // biome-ignore lint/suspicious/noExplicitAny: each client's stack has types of its own, and the middlewares look at nothing but what they check
    add(middleware: any, options: any): void;
  };
};
type Args = { input?: unknown };
type Context = { commandName?: string };
type Next = (args: Args) => Promise<{ output?: unknown }>;

/**
 * Counts every try of every call of the client, as the service would charge it. DynamoDB is asked to report the units
 * that a call consumes (real and exact on AWS; dynalite leaves out what the two indexes take, some ten units a batch).
 */
export function meterClient<C extends MeteredClient>(client: C, service: MeteredService, meter: Meter): C {
  if (service === 'dynamodb')
    client.middlewareStack.add(
      (next: Next) => (args: Args) =>
        next({ ...args, input: { ...(args.input as object), ReturnConsumedCapacity: 'TOTAL' } }),
      { step: 'initialize', name: 'reportUnits' },
    );
  client.middlewareStack.add(
    (next: Next, { commandName = '' }: Context) =>
      async (args: Args) => {
        const command = commandName.replace(/Command$/, '');
        try {
          const result = await next(args);
          meter.add(command, service, { units: unitsOf(result.output) });
          return result;
        } catch (error) {
          meter.add(command, service, { errorName: error instanceof Error ? error.name : 'unknown' });
          throw error;
        }
      },
    // Behind the SDK's retries, so that it sees each try.
    { step: 'finalizeRequest', priority: 'low', name: 'meter' },
  );
  return client;
}

/** One report, or for a batch of keys one a table. */
function unitsOf(output: unknown): number {
  const report = (output as { ConsumedCapacity?: unknown } | undefined)?.ConsumedCapacity;
  const reports = (Array.isArray(report) ? report : [report]) as ({ CapacityUnits?: number } | undefined)[];
  return reports.reduce((sum, each) => sum + (each?.CapacityUnits ?? 0), 0);
}
