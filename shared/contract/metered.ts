import * as z from 'zod';

/**
 * What one invocation of a function used, as one log line of the message `metered`; written where the setting
 * `metering` is on, whatever the log level. Summed over all lines it is what a batch, or an hour, is charged for.
 */
const Count = z.number().nonnegative();

/** Calls of AWS, each try counted: a retry is charged as well. */
const AwsUseSchema = z.object({
  dynamodb: z.object({
    /** Read and write units, as DynamoDB itself reports them. */
    read_units: Count,
    write_units: Count,
    /** Writes whose condition did not hold. They are charged as writes, but not reported: one unit each is counted. */
    refused_writes: Count,
    requests: Count,
  }),
  /** By price: PUT, COPY, POST and LIST; GET and all others; and what is free (DELETE, abort). */
  s3: z.object({ puts: Count, gets: Count, free: Count }),
  /** Requests of the API of Step Functions, which are free; its transitions follow from the steps' lines. */
  states: z.object({ requests: Count }),
  secrets: z.object({ requests: Count }),
});
export type AwsUse = z.infer<typeof AwsUseSchema>;

export const METERED_MESSAGE = 'metered';

export const MeteredLineSchema = z.object({
  message: z.literal(METERED_MESSAGE),
  /** When the invocation ended; the log adds it. */
  timestamp: z.iso.datetime(),
  /** What ran: a step's name, a route's, or a schedule's. */
  function: z.string(),
  kind: z.enum(['step', 'request', 'schedule']),
  /** Of a step's batch. */
  batch_id: z.string().optional(),
  /** Of a step: what the machine goes on with; `failed` where it threw. */
  next: z.string().optional(),
  duration_ms: Count,
  /** Of the first invocation of a sandbox: the time until its code was loaded, which Lambda charges too. */
  init_ms: Count.optional(),
  /** Of the processor, by the whole process; of a thread (the local run's API) it says nothing. */
  cpu_ms: Count.optional(),
  memory_mb: Count,
  ...AwsUseSchema.shape,
});
export type MeteredLine = z.infer<typeof MeteredLineSchema>;
