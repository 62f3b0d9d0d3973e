import * as z from 'zod';

/**
 * What a local run tells others: the one line of `npm start -- --json`, and the file of this name in its data folder
 * for as long as it is up. The command line finds a running system by it.
 */
export const RUN_INFO_FILE = 'run.json';

export const RunInfoSchema = z.object({
  url: z.string(),
  api_key: z.string(),
  management_key: z.string(),
  project_id: z.string(),
  webhook_secret: z.string(),
  /** Takes notifications and checks their signatures: a `callback_url` for trying things out. */
  demo_receiver_url: z.string(),
  pid: z.int(),
  /** In the file alone: where its stores are, for the operator's own tools. */
  stores: z
    .object({
      dynamodb_url: z.string(),
      s3_url: z.string(),
      region: z.string(),
      access_key_id: z.string(),
      secret_access_key: z.string(),
      table: z.string(),
      bucket: z.string(),
    })
    .optional(),
});
export type RunInfo = z.infer<typeof RunInfoSchema>;
