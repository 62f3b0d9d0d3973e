import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as z from 'zod';
import { SettingsSchema } from '../shared/contract/settings.ts';
import { type ModelsFile, ModelsFileSchema } from '../shared/domain/models.ts';

/** What `config.json` holds: a stage a name, each a set of deployment knobs and the product's settings. */
const StageSchema = z.strictObject({
  /** CloudWatch's own steps; see https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html */
  logRetentionDays: z.literal([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400]).default(30),
  /**
   * Requests a second (and burst) that the API takes in all before it answers 429 by itself. It counts what handlers
   * refuse as well, so it is ten times what the quota of one project allows: one that floods leaves room to the others.
   */
  apiRequestsPerSecond: z.int().positive().default(500),
  apiBurst: z.int().positive().default(1_000),
  /**
   * Workers that may run at once over all batches, taken out of the account's concurrency. Absent: not reserved, since
   * a deploy fails unless 100 stay unreserved and a new account may have fewer.
   */
  reservedWorkers: z.int().positive().optional(),
  /** How often the check runs; EventBridge's finest rate is one minute. */
  checkEveryMinutes: z.int().positive().default(1),
  /** An SNS topic of the stack's region that alarms are told to. Absent: they are raised, and tell nobody. */
  alarmTopicArn: z
    .string()
    .regex(/^arn:[\w-]+:sns:[\w-]+:\d{12}:[\w-]{1,256}$/, { error: 'must be the ARN of an SNS topic' })
    .optional(),
  /** False lets `cdk destroy` delete the table and the bucket with all that is in them. */
  keepData: z.boolean().default(true),
  settings: SettingsSchema.prefault({}),
});
export type Stage = z.infer<typeof StageSchema>;

const ConfigSchema = z.strictObject({ $schema: z.string().optional(), stages: z.record(z.string(), StageSchema) });

/** The deployer's own files do not fit; the message says where and how. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

function readJson(path: string): unknown {
  const text = readFileSync(path, 'utf8');
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ConfigError(`${path} is not JSON: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

function parse<T extends z.ZodType>(schema: T, value: unknown, path: string): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `  ${issue.path.join('.') || '(whole file)'}: ${issue.message}`);
  throw new ConfigError(`${path} is not usable:\n${problems.join('\n')}`);
}

/** Objects are merged by key, anything else is replaced. */
function merge(base: unknown, over: unknown): unknown {
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isObject(base) || !isObject(over)) return over;
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) merged[key] = key in base ? merge(base[key], value) : value;
  return merged;
}

export const CONFIG_PATH = fileURLToPath(new URL('../config.json', import.meta.url));
export const MODELS_PATH = fileURLToPath(new URL('../models.json', import.meta.url));

/** Reads one stage of `config.json`. `overrides` are merged into its settings (the local run and tests use that). */
export function readStage(name: string, overrides: unknown = {}, path = CONFIG_PATH): Stage {
  const { stages } = parse(ConfigSchema, readJson(path), path);
  const stage = Object.hasOwn(stages, name) ? stages[name] : undefined;
  if (!stage)
    throw new ConfigError(`There is no stage "${name}" in ${path}. It has: ${Object.keys(stages).join(', ')}.`);
  return {
    ...stage,
    settings: parse(SettingsSchema, merge(stage.settings, overrides), `${path}, overridden settings`),
  };
}

export function readModels(path = MODELS_PATH): ModelsFile {
  return parse(ModelsFileSchema, readJson(path), path);
}
