import type * as z from 'zod';
import type { ValidationCode } from '../errors.ts';

/** What is wrong with a line: one of the contract's codes, a sentence that names the field, and the field's path. */
export type LineProblem = { code: ValidationCode; message: string; param: string | null };

/** So many problems of one line are told; the client's text is quoted up to so many characters. */
const MAX_TOLD = 5;
const MAX_QUOTED = 60;

/** What a schema's own checks pass to `problemsOf`. */
export type CodedIssue = { code: ValidationCode };

/** One sentence for all problems of a line, which is filed under the first one's code. */
export function describeProblems(problems: readonly LineProblem[]): string {
  const told = problems.slice(0, MAX_TOLD).map((problem) => problem.message);
  const untold = problems.length - told.length;
  return told.join(' ') + (untold > 0 ? ` And ${untold} more.` : '');
}

/** The client's own text, short enough for a message and on one line. */
export function quote(text: string): string {
  const short = text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED).toWellFormed()}…` : text;
  return JSON.stringify(short);
}

/** What a value is, in words. */
export function nameKind(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  switch (typeof value) {
    case 'object':
      return 'an object';
    case 'undefined':
      return 'nothing';
    default:
      return `a ${typeof value}`;
  }
}

const KINDS: Record<string, string> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'an array',
  object: 'an object',
  record: 'an object',
};

/** `body.vectors[0].metadata.text` */
function pathName(root: string, path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (name, key) => (typeof key === 'number' ? `${name}[${key}]` : `${name}.${quoteKey(String(key))}`),
    root,
  );
}

function quoteKey(key: string): string {
  return /^[\w$-]{1,64}$/.test(key) ? key : quote(key);
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let value = root;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = Reflect.get(value, key);
  }
  return value;
}

/** zod's issues in the contract's codes. `root` names what was parsed, `value` is it. */
export function problemsOf(error: z.ZodError, root: string, value: unknown): LineProblem[] {
  return error.issues.flatMap((issue): LineProblem[] => {
    const param = pathName(root, issue.path);
    const found = valueAt(value, issue.path);
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((key) => {
        const named = pathName(root, [...issue.path, key]);
        return { code: 'unsupported_parameter', param: named, message: `${named} is not known here.` };
      });
    const wanted = issue.code === 'invalid_type' ? KINDS[issue.expected] : undefined;
    if (found === undefined)
      return [
        {
          code: 'missing_required_parameter',
          param,
          message: `${param} is missing${wanted ? `: it must be ${wanted}` : ''}.`,
        },
      ];
    if (wanted !== undefined)
      return [{ code: 'invalid_type', param, message: `${param} must be ${wanted}, not ${nameKind(found)}.` }];
    const code = issue.code === 'custom' && isCoded(issue.params) ? issue.params.code : 'invalid_value';
    return [{ code, param, message: `${param} ${issue.message}.` }];
  });
}

function isCoded(params: Record<string, unknown> | undefined): params is CodedIssue {
  return typeof params?.code === 'string';
}
