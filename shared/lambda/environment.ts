import * as z from 'zod';
import { type FunctionName, functions, type VariableName, type VariablesOf } from '../contract/functions.ts';
import { SettingsSchema } from '../contract/settings.ts';

/**
 * Every variable that a function may be given. Each is read once, at cold start, and only here; a function names those
 * that it needs, and the stack gives it just those.
 */
const json = <T extends z.ZodType>(schema: T) =>
  z
    .string()
    .transform((text, context) => {
      try {
        return JSON.parse(text) as unknown;
      } catch {
        context.addIssue({ code: 'custom', message: 'is not JSON' });
        return z.NEVER;
      }
    })
    .pipe(schema);

const Variables = {
  SETTINGS: json(SettingsSchema),
  TABLE_NAME: z.string().min(1),
  BUCKET_NAME: z.string().min(1),
  BATCH_MACHINE_ARN: z.string().min(1),
  NOTIFICATION_MACHINE_ARN: z.string().min(1),
  SNAPSHOT_MACHINE_ARN: z.string().min(1),
  OPERATOR_KEY_SECRET_ARN: z.string().min(1),
  /** Secret of each provider in models.json that wants a key: provider name → ARN. */
  MODEL_KEY_SECRETS: json(z.record(z.string(), z.string())),
  SERVICE_VERSION: z.string().min(1),
} as const satisfies Record<VariableName, z.ZodType>;

export type Environment<N extends VariableName> = { [K in N]: z.output<(typeof Variables)[K]> };

/** Reads and checks the named variables; one error names all that are missing or bad. */
export function readEnvironment<N extends VariableName>(...names: N[]): Environment<N> {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const name of names) {
    const parsed = Variables[name].safeParse(process.env[name]);
    if (parsed.success) values[name] = parsed.data;
    else
      problems.push(
        `${name}: ${parsed.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`).join('; ')}`,
      );
  }
  if (problems.length > 0) throw new Error(`The function's environment is not usable. ${problems.join(' | ')}`);
  // Each name was parsed by its own schema just above.
  return values as Environment<N>;
}

/** Whether the stage asks for figures. What has no settings (a test, an operator's tool) does not. */
export function isMetered(): boolean {
  const settings = Variables.SETTINGS.safeParse(process.env.SETTINGS);
  return settings.success && settings.data.metering;
}

/** The variables that the table of functions gives to this one. */
export function functionEnvironment<F extends FunctionName>(name: F): Environment<VariablesOf<F>> {
  return readEnvironment<VariableName>(...functions[name].variables);
}
