import type { IncomingMessage } from 'node:http';
import { S3Error } from './s3Error.ts';
import type { Authorization } from './signature.ts';

/** A request in S3's terms. `key` is empty where the bucket itself is meant. */
export type S3Request = {
  id: string;
  method: string;
  bucket: string;
  key: string;
  /** The path, decoded: what was asked for, for signatures and error answers. */
  path: string;
  query: Map<string, string>;
  message: IncomingMessage;
  /** Set once the signature was verified. */
  authorization: Authorization;
};

/** Path and query of a request target, each decoded exactly once. `+` stands for itself in both. */
export function parseTarget(target: string): { bucket: string; key: string; path: string; query: Map<string, string> } {
  const mark = target.indexOf('?');
  const path = decode(mark < 0 ? target : target.slice(0, mark));
  const query = new Map<string, string>();
  for (const pair of mark < 0 ? [] : target.slice(mark + 1).split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const name = decode(equals < 0 ? pair : pair.slice(0, equals));
    // A parameter given twice would be signed in two ways; nothing that is read here is ever repeated.
    if (query.has(name)) throw new S3Error('InvalidArgument', `The parameter ${name} is given twice.`);
    query.set(name, equals < 0 ? '' : decode(pair.slice(equals + 1)));
  }
  const slash = path.indexOf('/', 1);
  return {
    bucket: slash < 0 ? path.slice(1) : path.slice(1, slash),
    key: slash < 0 ? '' : path.slice(slash + 1),
    path,
    query,
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // decodeURIComponent has one failure: octets that are not percent-encoded UTF-8.
    throw new S3Error('InvalidURI', "Couldn't parse the specified URI.");
  }
}

/** A header, or the parameter of that name that a pre-signed URL carries in its place. */
export function headerOf(request: Pick<S3Request, 'message' | 'query'>, name: string): string | undefined {
  const value = request.message.headers[name];
  if (value !== undefined) return Array.isArray(value) ? value.join(',') : value;
  return name.startsWith('x-amz-') ? queryOf(request.query, name) : undefined;
}

/** Pre-signers keep a hoisted header's name, in whichever case. */
function queryOf(query: Map<string, string>, name: string): string | undefined {
  const exact = query.get(name);
  if (exact !== undefined) return exact;
  for (const [candidate, value] of query) if (candidate.toLowerCase() === name) return value;
  return undefined;
}

/** Names of all `x-amz-` headers, hoisted ones included, in lower case. */
export function amzHeaderNames(request: Pick<S3Request, 'message' | 'query'>): Set<string> {
  const names = new Set<string>();
  for (const name of Object.keys(request.message.headers)) if (name.startsWith('x-amz-')) names.add(name);
  for (const name of request.query.keys()) {
    const lower = name.toLowerCase();
    if (lower.startsWith('x-amz-')) names.add(lower);
  }
  return names;
}
