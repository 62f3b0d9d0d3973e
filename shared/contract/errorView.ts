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
    message: `${error.message}${unlisted}`,
    code: error.code,
    ...(error.details ? { details: error.details.slice(0, MAX_DETAILS) } : {}),
    ...(retryAfter === undefined ? {} : { retry_after: Number(retryAfter) }),
  };
}

/** What zod found wrong with `value`, as the wire's `details`: one entry a field, unknown ones by their own names. */
export function errorDetails(issues: readonly z.core.$ZodIssue[], value: unknown, root: string): ApiErrorDetail[] {
  return issues.flatMap((issue) => {
    const param = (...more: string[]) => shortened([...issue.path.map(String), ...more].join('.') || root);
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((key) => ({ param: param(key), message: 'is not known here' }));
    return [{ param: param(), message: isMissing(value, issue.path) ? 'is required' : sentence(issue) }];
  });
}

function shortened(param: string): string {
  if (param.length <= MAX_PARAM_CHARACTERS) return param;
  return `${param.slice(0, MAX_PARAM_CHARACTERS - 1).toWellFormed()}…`;
}

function sentence(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type') return `must be of type ${issue.expected}`;
  if (issue.code === 'invalid_value')
    return `must be ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}`;
  return issue.message;
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
