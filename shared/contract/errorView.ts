import * as z from 'zod';
import { API_ERRORS, type ApiError, type ApiErrorDetail, type ApiErrorName } from '../domain/errors.ts';

/** Every error answer of ours. */
export const ErrorView = z
  .object({
    error: z.enum(Object.keys(API_ERRORS) as [ApiErrorName, ...ApiErrorName[]]),
    message: z.string(),
    code: z.int(),
    details: z.array(z.object({ param: z.string(), message: z.string() })).optional(),
    retry_after: z.int().optional().describe('Seconds.'),
    request_id: z.string().optional(),
  })
  .meta({ id: 'Error' });
export type ErrorView = z.output<typeof ErrorView>;

/**
 * A body of 1 MB can hold more than 100,000 faults and names of any length: an answer that named them all would pass the
 * 6 MB that Lambda can answer. The first faults are enough to go on with.
 */
const MAX_DETAILS = 100;
const MAX_PARAM_CHARACTERS = 200;

export function errorView(error: ApiError): ErrorView {
  const retryAfter = error.headers['Retry-After'];
  const more = (error.details?.length ?? 0) - MAX_DETAILS;
  const unlisted = more > 0 ? ` ${more} more ${more === 1 ? 'fault is' : 'faults are'} not listed.` : '';
  return {
    error: error.error,
    // A name that the client made up may hold half a character.
    message: `${error.message}${unlisted}`.toWellFormed(),
    code: error.code,
    ...(error.details ? { details: error.details.slice(0, MAX_DETAILS).map(wellFormed) } : {}),
    ...(retryAfter === undefined ? {} : { retry_after: Number(retryAfter) }),
  };
}

const wellFormed = ({ param, message }: ApiErrorDetail): ApiErrorDetail => ({
  param: param.toWellFormed(),
  message: message.toWellFormed(),
});

/** `value` parsed by `schema`, or what is wrong with it as the wire's `details`. A value without a name is `root`. */
export function checked(
  schema: z.ZodType,
  value: unknown,
  root: string,
): { value: unknown; details: ApiErrorDetail[] } {
  // For what the schema itself has no words.
  const parsed = schema.safeParse(value, { error: sentence });
  return { value: parsed.data, details: parsed.success ? [] : errorDetails(parsed.error.issues, value, root) };
}

/** One entry a field, the first that was found; unknown fields by their own names. */
function errorDetails(issues: readonly z.core.$ZodIssue[], value: unknown, root: string): ApiErrorDetail[] {
  const details = new Map<string, ApiErrorDetail>();
  for (const { path, message, ...issue } of issues) {
    const add = (names: readonly PropertyKey[], text: string) => {
      const name = names.map(String).join('.') || root;
      if (!details.has(name)) details.set(name, { param: shortened(name), message: text });
    };
    if (issue.code === 'unrecognized_keys') for (const key of issue.keys) add([...path, key], 'is not known here');
    else add(path, isMissing(value, path) ? 'is required' : message);
  }
  return [...details.values()];
}

function shortened(param: string): string {
  if (param.length <= MAX_PARAM_CHARACTERS) return param;
  return `${param.slice(0, MAX_PARAM_CHARACTERS - 1).toWellFormed()}…`;
}

const TYPES: Record<string, string> = {
  string: 'must be a string',
  number: 'must be a number',
  int: 'must be a whole number',
  boolean: 'must be true or false',
  array: 'must be an array',
  object: 'must be an object',
  record: 'must be an object',
};

function sentence(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === 'invalid_type') return TYPES[issue.expected];
  if (issue.code === 'invalid_value')
    return `must be ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}`;
  return undefined;
}

function isMissing(value: unknown, path: readonly PropertyKey[]): boolean {
  let at = value;
  for (const key of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return true;
    // An own property of an object, as was just seen.
    at = (at as Record<PropertyKey, unknown>)[key];
  }
  return at === undefined;
}
