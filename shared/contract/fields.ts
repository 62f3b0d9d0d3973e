import * as z from 'zod';
import { isBlockedPort } from '../domain/blockedPorts.ts';
import { FILE_ID, PROJECT_ID } from '../domain/ids.ts';
import { hasDotSegment } from '../domain/objectKeys.ts';
import { addressLiteral, isLocalhost, isPublicAddress } from '../domain/publicAddress.ts';

/** Kinds of wire fields that more than one schema has. */

/**
 * A string of so many characters. Characters are code points, as JSON Schema counts them (zod's own `max` counts UTF-16
 * units), and half a surrogate pair is refused: it could not be stored as UTF-8 and given back.
 */
export function text(min: number, max: number) {
  const meta = { ...(min > 0 ? { minLength: min } : {}), maxLength: max };
  return z
    .string()
    .superRefine((value, context) => {
      const length = [...value].length;
      if (length < min || length > max)
        context.addIssue({
          code: 'custom',
          message: min > 0 ? `must have ${min} to ${max} characters` : `must have at most ${max} characters`,
        });
      else if (!value.isWellFormed())
        context.addIssue({ code: 'custom', message: 'must be well-formed Unicode: it holds half a surrogate pair' });
    })
    .meta(meta);
}

/** ISO 8601 in UTC with milliseconds, as every time of the API. */
export const Time = z.iso.datetime({ precision: 3 });

export const time = (epochMs: number) => new Date(epochMs).toISOString();
export const timeOrNull = (epochMs: number | undefined) => (epochMs === undefined ? null : time(epochMs));

/** A time that a client sends: any ISO 8601 with seconds and `Z`. */
export const TimeInput = z.iso.datetime({ error: 'must be a time in ISO 8601 with Z, such as 2026-01-15T10:30:00Z' });

export const ProjectId = z.string().regex(PROJECT_ID, {
  error: 'must be 1 to 128 letters, digits, "_", "." or "-", starting with a letter or digit',
});

/** A query parameter that is a whole number in range; never clamped. */
export function wholeNumber(min: number, max: number) {
  const message = `must be a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^(0|[1-9]\d{0,9})$/, { error: message })
    .transform(Number)
    .pipe(z.int().min(min, { error: message }).max(max, { error: message }));
}

const S3_URL = /^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\/.+$/su;
const MAX_URL = 8192;

/**
 * Undefined where the URL is usable; else what is wrong with it. `http`, hosts that are not public and ports of other
 * protocols only where the deployment allows private networks, as the local run does. Names are not resolved here: what
 * they lead to is checked at each connection.
 */
export function webUrlProblem(value: string, allowPrivateNetworks: boolean): string | undefined {
  const schemes = allowPrivateNetworks ? ['https', 'http'] : ['https'];
  const forms = schemes.map((scheme) => `${scheme}://…`).join(' or ');
  const url = /^https?:\/\//i.test(value) && URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !schemes.includes(url.protocol.slice(0, -1))) return `must be ${forms}`;
  // They would stand in every answer that shows the batch, and clients drop them without a word.
  if (url.username !== '' || url.password !== '') return 'must not carry a user name or password';
  if (allowPrivateNetworks) return undefined;
  const literal = addressLiteral(url.hostname);
  if (isLocalhost(url.hostname) || (literal !== undefined && !isPublicAddress(literal)))
    return `must not name the host ${url.hostname}: it is not at a public address`;
  if (isBlockedPort(url)) return `must not name the port ${url.port}: it belongs to another protocol than HTTP`;
  return undefined;
}

export function callbackUrl(allowPrivateNetworks: boolean) {
  return text(1, MAX_URL).superRefine((value, context) => {
    const message = webUrlProblem(value, allowPrivateNetworks);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  });
}

/** Which buckets may be read, and what names of hosts lead to, is decided where they are read. */
export function inputFileUrl(allowPrivateNetworks: boolean) {
  return text(1, MAX_URL).superRefine((value, context) => {
    const issue = (message: string) => context.addIssue({ code: 'custom', message });
    if (value.startsWith('file://')) {
      if (!FILE_ID.test(value.slice('file://'.length))) issue('must name an upload: file://file_…');
    } else if (value.startsWith('s3://')) {
      if (!S3_URL.test(value)) issue('must be s3://bucket/key');
      else if (hasDotSegment(value)) issue('must not have "." or ".." between the slashes of its key');
    } else {
      const problem = webUrlProblem(value, allowPrivateNetworks);
      if (problem !== undefined) issue(problem.replace(/^(must be .*)$/, '$1, s3://bucket/key or file://file_…'));
    }
  });
}
