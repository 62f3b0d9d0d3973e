import { randomInt } from 'node:crypto';
import * as z from 'zod';

/** `GenerateSecretString` of AWS::SecretsManager::Secret; an option that is not here is an error that names it. */
export const GenerateSecretSchema = z.strictObject({
  PasswordLength: z.int().min(1).max(4_096).default(32),
  ExcludeCharacters: z.string().max(4_096).default(''),
  ExcludeLowercase: z.boolean().default(false),
  ExcludeNumbers: z.boolean().default(false),
  ExcludePunctuation: z.boolean().default(false),
  ExcludeUppercase: z.boolean().default(false),
  IncludeSpace: z.boolean().default(false),
  RequireEachIncludedType: z.boolean().default(true),
  SecretStringTemplate: z.string().optional(),
  GenerateStringKey: z.string().min(1).optional(),
});
export type GenerateSecret = z.input<typeof GenerateSecretSchema>;

const LOWERCASE = 'abcdefghijklmnopqrstuvwxyz';
const NUMBERS = '0123456789';
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetRandomPassword.html, ExcludePunctuation
const PUNCTUATION = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~';

/** Makes a secret's text: a password, or the template's object with the password under `GenerateStringKey`. */
export function generateSecret(options: GenerateSecret, where: string): string {
  const parsed = GenerateSecretSchema.safeParse(options);
  if (!parsed.success) throw new Error(`${where}: GenerateSecretString: ${z.prettifyError(parsed.error)}`);
  const { SecretStringTemplate: template, GenerateStringKey: key } = parsed.data;
  const password = generatePassword(parsed.data, where);
  if (template === undefined && key === undefined) return password;
  if (template === undefined || key === undefined) {
    throw new Error(`${where}: SecretStringTemplate and GenerateStringKey want each other.`);
  }
  return JSON.stringify({ ...parseTemplate(template, where), [key]: password });
}

function generatePassword(options: z.output<typeof GenerateSecretSchema>, where: string): string {
  const types = [
    options.ExcludeLowercase ? '' : LOWERCASE,
    options.ExcludeUppercase ? '' : LOWERCASE.toUpperCase(),
    options.ExcludeNumbers ? '' : NUMBERS,
    options.ExcludePunctuation ? '' : PUNCTUATION,
    options.IncludeSpace ? ' ' : '',
  ]
    .map((characters) => [...characters].filter((one) => !options.ExcludeCharacters.includes(one)))
    .filter((characters) => characters.length > 0);
  const all = types.flat();
  const required = options.RequireEachIncludedType ? types : [];
  if (all.length === 0) throw new Error(`${where}: GenerateSecretString excludes every character.`);
  if (required.length > options.PasswordLength) {
    throw new Error(`${where}: PasswordLength is too short for one character of each type.`);
  }
  const pick = (from: string[]) => from[randomInt(from.length)] ?? '';
  const password = required.map(pick);
  while (password.length < options.PasswordLength) password.push(pick(all));
  // Fisher-Yates, so that the required characters do not stand at the front.
  for (let at = password.length - 1; at > 0; at -= 1) {
    const other = randomInt(at + 1);
    [password[at], password[other]] = [password[other] ?? '', password[at] ?? ''];
  }
  return password.join('');
}

function parseTemplate(template: string, where: string): Record<string, unknown> {
  const parsed = z.record(z.string(), z.unknown()).safeParse(safeJson(template));
  if (!parsed.success) throw new Error(`${where}: SecretStringTemplate is not a JSON object.`);
  return parsed.data;
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    return error;
  }
}
