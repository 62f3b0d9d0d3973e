import * as z from 'zod';
import { KEEP_DAYS, UPLOAD_DAYS } from './retention.ts';
import { checkJwksUrl, TokensSchema } from './tokenSettings.ts';

/**
 * What a stage can set. `config.json` holds the stages; `infra/config.ts` checks them with this schema when the stack
 * is synthesized and hands them to every function as the one variable `SETTINGS`, where they are checked again.
 */
const KIB = 1024;
const MIB = 1024 * KIB;
const Positive = z.int().positive();
const BUCKET_NAME = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

const StageSettings = z.strictObject({
  /** True lets input URLs and callbacks reach private addresses and plain http. For the local run only. */
  allowPrivateNetworks: z.boolean().default(false),
  /** Buckets that `s3://` input may come from. Their names stand in rights as well: no ARN, no wildcard. */
  inputBuckets: z
    .array(z.string().regex(BUCKET_NAME, { error: 'must be the name of a bucket: 3 to 63 of a-z, 0-9, "." and "-"' }))
    .default([]),
  /** What one project may use; beyond it the answer is a 429. Far beyond what clients that behave have been seen to use. */
  quotas: z
    .strictObject({
      /** A hundred batches looked at every two seconds. Over all projects the stage's `apiRequestsPerSecond` holds. */
      requestsPerMinute: Positive.default(3_000),
      /** One record holds their ids, and is written with each new batch: 1,000 are 45 KB. */
      openBatches: Positive.max(1_000).default(100),
      /** By the day in UTC. A file a batch, three times a minute. */
      uploadsPerDay: Positive.default(5_000),
      /** As much as 100 open batches of the largest size read. What was uploaded lies in the bucket for up to 53 days. */
      uploadBytesPerDay: Positive.default(100 * 5 * 1024 * MIB),
    })
    .prefault({}),
  limits: z
    .strictObject({
      inputBytes: Positive.default(5 * 1024 * MIB),
      inputLines: Positive.max(1_000_000).default(1_000_000),
      lineBytes: Positive.default(10 * MIB),
      requestBodyBytes: Positive.default(MIB),
      answerBytes: Positive.default(10 * MIB),
    })
    .prefault({}),
  fetch: z
    .strictObject({
      /** Between two chunks, and for the answer's head. */
      idleTimeoutSeconds: Positive.default(30),
      maxRedirects: Positive.default(5),
      /**
       * A copy that takes longer than one invocation is gone on with only at this pace: a source that drips would else
       * keep a function busy until the batch's window ends. 5 GB then take four days at most. 0: at any pace.
       */
      minBytesPerSecond: z
        .int()
        .nonnegative()
        .default(16 * KIB),
      /** Time kept back at the end of an invocation to hand over to the next. */
      reserveSeconds: Positive.default(60),
    })
    .prefault({}),
  shards: z
    .strictObject({
      /** 25 MB of lines of 1 KB. Larger ones cost fewer state transitions; smaller ones share the last round better. */
      maxLines: Positive.max(25_000).default(25_000),
      maxBytes: Positive.default(64 * MIB),
      /** Workers of one batch at a time. A small batch is cut so that this many can share it. */
      maxWorkers: Positive.max(1_000).default(50),
      /** A shard is not cut smaller than this for the sake of sharing. */
      minLines: Positive.default(50),
    })
    .prefault({}),
  worker: z
    .strictObject({
      /** Model calls in flight: where the window starts and where it ends. ≤ 300 sockets in a Lambda sandbox. */
      inFlightStart: Positive.default(16),
      inFlightMax: Positive.max(300).default(64),
      /** Bytes of request lines and expected answers held at once. */
      inFlightBytes: Positive.default(96 * MIB),
      maxAttempts: Positive.default(5),
      callTimeoutSeconds: Positive.default(300),
      retryBaseMs: Positive.default(500),
      retryMaxMs: Positive.default(60_000),
      commitEverySeconds: Positive.default(15),
      commitLines: Positive.default(500),
      /**
       * Commits for the sake of `commitLines` begin no closer to each other: of models that answer in under 32 ms 500
       * lines are there sooner, and what a commit costs is then most of what a line costs.
       */
      commitGapMs: z.int().nonnegative().max(1_000).default(250),
      commitBytes: Positive.default(8 * MIB),
      controlEverySeconds: Positive.default(10),
      /** After a stop: time for workers to see it (`controlEverySeconds`), let calls end (3 s at most), and commit. */
      settleSeconds: Positive.default(15),
      /** Admission stops this long before the function's timeout, so that what is in flight can end and be committed. */
      drainSeconds: Positive.default(330),
    })
    .prefault({}),
  notify: z
    .strictObject({
      /** The step has 60 s in all. */
      timeoutSeconds: Positive.max(45).default(15),
      /** Pauses between attempts: about three days in all. */
      pausesSeconds: z.array(Positive).default([5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]),
    })
    .prefault({}),
  check: z
    .strictObject({
      /**
       * A call of the check stops taking on batches after this long. Its route answers within 20 s:
       * 5 s are left to the looks that have begun by then.
       */
      budgetSeconds: Positive.max(15).default(15),
      /** When an open batch is looked at again. */
      lookAgainSeconds: Positive.default(120),
      /** After the deadline workers have this long to notice it by themselves. */
      graceSeconds: Positive.default(60),
      /** Attempts in a row that committed nothing before a batch is given up. */
      maxIdleAttempts: Positive.default(5),
    })
    .prefault({}),
  snapshots: z
    .strictObject({
      /** A partial download that finds an older one has a new one made. */
      refreshSeconds: Positive.default(60),
    })
    .prefault({}),
  files: z
    .strictObject({
      /** Results can be downloaded for this long; the bucket keeps them for as long as a retry may read them. */
      keepDays: Positive.max(KEEP_DAYS).default(KEEP_DAYS),
      uploadDays: Positive.max(UPLOAD_DAYS).default(UPLOAD_DAYS),
      /** Pre-signed URLs die with the role's session: sign per request, for minutes. */
      downloadUrlSeconds: Positive.max(3600).default(900),
      uploadUrlSeconds: Positive.max(3600).default(3600),
    })
    .prefault({}),
  /** A line of log for each invocation with what it has used of AWS: `metered.ts`. `npm run bench` sums them. */
  metering: z.boolean().default(false),
  logLevel: z.enum(['DEBUG', 'INFO', 'WARN', 'ERROR']).default('INFO'),
  /** Whose tokens open the API, beside API keys. Absent: API keys alone do. */
  tokens: TokensSchema.optional(),
});
export const SettingsSchema = StageSettings.superRefine(checkJwksUrl);
export type Settings = z.infer<typeof SettingsSchema>;
