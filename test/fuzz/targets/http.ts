import { isDeepStrictEqual } from 'node:util';
import { decodePath } from '../../../local/http/event.ts';
import { ErrorView } from '../../../shared/contract/errorView.ts';
import { type RouteName, routes } from '../../../shared/contract/routes.ts';
import { API_ERRORS } from '../../../shared/domain/errors.ts';
import { PROJECT_ID } from '../../../shared/domain/ids.ts';
import { ROLES } from '../../../shared/domain/roles.ts';
import { httpEvent, lambdaContext } from '../../support/httpEvents.ts';
import { seededRandom } from '../../support/random.ts';
import type { Target } from '../run.ts';
import { API_KEY, type ApiWorld, OPERATOR_KEY, PROJECT, startApiWorld } from './apiWorld.ts';

/**
 * One request in bytes, as they are mutated and kept:
 *
 *     createBatch text a%00b?take=1
 *     Authorization: Bearer …
 *
 *     the body's bytes
 *
 * The name of a route, how the gateway hands on the body (`text` or `base64`), the path's parameter and the query; headers,
 * in Latin-1 as Node reads them. Without an Authorization and a Users-Management-Key it has the good ones.
 */
const HEAD_END = '\n\n';
const NAMES = Object.keys(routes) as RouteName[];

type Request = {
  route: RouteName;
  base64: boolean;
  params: Record<string, string> | undefined;
  query: string;
  headers: Record<string, string>;
  /** As the function gets it. */
  text: string;
  body: Buffer;
};

/** Undefined where a mutation has left nothing that is a request. */
async function requestOf(world: ApiWorld, input: Buffer): Promise<Request | undefined> {
  const end = input.indexOf(HEAD_END);
  const head = input.subarray(0, end < 0 ? input.length : end).toString('latin1');
  const body = end < 0 ? Buffer.alloc(0) : input.subarray(end + HEAD_END.length);
  const [first = '', ...lines] = head.split('\n');
  const [name = '', how = '', ...targets] = first.split(' ');
  const route = NAMES.find((known) => known === name);
  if (route === undefined) return undefined;
  const target = targets.join(' ');
  const at = target.indexOf('?');
  const param = /\{(\w+)\}/.exec(routes[route].path)?.[1];
  const headers: Record<string, string> = { authorization: `Bearer ${API_KEY}`, 'users-management-key': OPERATOR_KEY };
  for (const line of lines) {
    const colon = line.indexOf(':');
    // What is on the wire is trimmed.
    if (colon > 0)
      headers[line.slice(0, colon).toLowerCase()] = await withTokens(
        world,
        line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, ''),
      );
  }
  return {
    route,
    base64: how === 'base64',
    params: param === undefined ? undefined : { [param]: decodePath(at < 0 ? target : target.slice(0, at)) },
    query: at < 0 ? '' : target.slice(at + 1),
    headers,
    text: how === 'base64' ? body.toString('base64') : body.toString('utf8'),
    body: how === 'base64' ? body : Buffer.from(body.toString('utf8')),
  };
}

/**
 * Keys of an issuer are new in each run: `{{RS256}}` and `{{ES256}}` stand for good tokens, and
 * `{{signed <header> <payload>}}` for one that the issuer has signed whatever is in it.
 */
async function withTokens(world: ApiWorld, text: string): Promise<string> {
  const whole = text
    .replaceAll('{{RS256}}', world.valid.RS256)
    .replaceAll('{{ES256}}', world.valid.ES256)
    .replaceAll('{{header}}', world.header)
    .replaceAll('{{claims}}', world.claims);
  const [all, header = '', payload = ''] = /\{\{signed (\S*) (.*)\}\}/s.exec(whole) ?? [];
  return all === undefined ? whole : whole.replace(all, await world.signed(header, payload));
}

/** Whether this header opens a project's routes by any reading of it, and as whom. */
function mayOpen(world: ApiWorld, authorization: string): boolean {
  const token = authorization.replace(/^bearer +/i, '').trimEnd();
  if (token === API_KEY) return true;
  const [header = '', payload = '', signature = '', ...more] = token.split('.');
  if (more.length > 0) return false;
  for (const valid of Object.values(world.valid)) {
    const [ownHeader, ownPayload, ownSignature = ''] = valid.split('.');
    // The last character of a signature has bits that mean nothing.
    if (header === ownHeader && payload === ownPayload && sameBytes(signature, ownSignature)) return true;
  }
  return isGoodWhereSigned(world, header, payload);
}

const sameBytes = (a: string, b: string) => Buffer.from(a, 'base64url').equals(Buffer.from(b, 'base64url'));

/** For a token that `{{signed …}}` made: what it says is what opens. */
function isGoodWhereSigned(world: ApiWorld, header: string, payload: string): boolean {
  const [head, claims] = [header, payload].map((part) => {
    try {
      return JSON.parse(Buffer.from(part, 'base64url').toString()) as unknown;
    } catch (error) {
      if (error instanceof SyntaxError) return undefined;
      throw error;
    }
  });
  if (typeof head !== 'object' || head === null || typeof claims !== 'object' || claims === null) return false;
  const own = (name: string): unknown => Object.getOwnPropertyDescriptor(claims, name)?.value;
  const { issuer, audience, projectClaim, roleClaim } = world.tokens;
  const [project, role, exp, aud] = [own(projectClaim), own(roleClaim), own('exp'), own('aud')];
  return (
    Object.getOwnPropertyDescriptor(head, 'alg')?.value === 'RS256' &&
    own('iss') === issuer &&
    [aud].flat().includes(audience) &&
    typeof exp === 'number' &&
    exp > Date.now() / 1000 - 61 &&
    typeof project === 'string' &&
    PROJECT_ID.test(project) &&
    ROLES.some((known) => known === role)
  );
}

/** Sends it, and throws where the answer is none that the contract names, or says other than what was sent. */
async function checkRequest(world: ApiWorld, input: Buffer): Promise<void> {
  const request = await requestOf(world, input);
  if (request === undefined) return;
  const { route, headers } = request;
  const { status, body } = await send(world, request);
  const { caller } = routes[route];
  const authorization = headers.authorization ?? '';
  if (caller === 'project' && status !== 401 && !mayOpen(world, authorization)) fail('a token that is none has opened');
  if (caller === 'project' && status === 401 && authorization === `Bearer ${API_KEY}`) fail('the good key was refused');
  for (const token of Object.values(world.valid))
    if (caller === 'project' && status === 401 && authorization === `Bearer ${token}`) fail('a good token was refused');
  if (caller === 'operator' && (status === 401) !== (headers['users-management-key'] !== OPERATOR_KEY))
    fail('the operator was mistaken');
  if (route === 'createBatch' && (status === 200 || status === 201)) await checkKept(world, request, body);
}

async function send(world: ApiWorld, { route, base64, params, query, headers, text }: Request) {
  const made = httpEvent(route, { headers, query, rawBody: text, ...(params ? { params } : {}) });
  const event = { ...made, isBase64Encoded: base64 };
  if (text === '') delete event.body;
  const {
    statusCode: status = 0,
    headers: answered = {},
    body = '',
  } = await world.handlers[route](event, lambdaContext());
  if (answered['Content-Type'] !== 'application/json; charset=utf-8') fail('the answer is not typed as JSON');
  const answer = JSON.parse(body) as Record<string, unknown>;
  if (status >= 400) {
    const error = ErrorView.strict().parse(answer);
    if (status === 500) fail('the fault was called ours');
    if (error.code !== status || API_ERRORS[error.error] !== status) fail(`the error is no ${status}`);
    if (status === 400 && !error.details?.length) fail('a refusal names no field');
  } else if (![200, 201, 202].includes(status)) fail(`there is no status ${status}`);
  return { status, body: answer };
}

/** What was sent is what the batch says of itself, now and when it is asked for. A repeated field's last value counts. */
async function checkKept(world: ApiWorld, request: Request, made: Record<string, unknown>): Promise<void> {
  const sent = JSON.parse(new TextDecoder().decode(request.body)) as Record<string, unknown>;
  const project = {
    ...request,
    route: 'getBatch' as const,
    query: '',
    text: '',
    params: { batch_id: String(made.id) },
  };
  const { status, body: kept } = await send(world, project);
  if (status !== 200) fail(`a batch that was made is a ${status}`);
  // The local table would keep half a surrogate pair; DynamoDB's UTF-8 cannot.
  const texts = [sent.name, sent.description, ...Object.entries({ ...(sent.metadata as object) }).flat()];
  if (texts.some((text) => typeof text === 'string' && !text.isWellFormed())) fail('half a surrogate pair is kept');
  for (const answer of [made, kept]) {
    for (const [field, unless] of Object.entries({
      name: undefined,
      input_file_url: undefined,
      callback_url: undefined,
      description: null,
      metadata: {},
    })) {
      if (!isDeepStrictEqual(answer[field], Object.hasOwn(sent, field) ? sent[field] : unless))
        fail(`${field} is not kept as it was sent`);
    }
  }
  if (kept.project_id !== PROJECT && request.headers.authorization === `Bearer ${API_KEY}`) fail('it is not theirs');
}

function fail(what: string): never {
  throw new Error(`A request was not answered as it should be: ${what}.`);
}

const BODY_LIMIT_BYTES = 1024 * 1024;
const create = (body: string, key = '') =>
  Buffer.from(`createBatch base64 \ncontent-type: application/json\n${key && `idempotency-key: ${key}\n`}\n${body}`);
const batch = (more: string) =>
  `{"name":"a","type":"COMPLETIONS","input_file_url":"http://127.0.0.1:9/in","callback_url":"http://127.0.0.1:9/"${more}}`;
/** Spaces between fields are part of the body. */
const ofBytes = (bytes: number) => batch(' '.repeat(bytes - Buffer.byteLength(batch(''))));
const DEPTHS = [500, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 10_000, 50_000, 150_000];
/** About where V8's own recursions end, each at another depth. */
const NEAR_THE_END = Array.from({ length: 160 }, (_, i) => 2_180 + i);
const deep = (depth: number, open: string, close: string) => `${open.repeat(depth)}1${close.repeat(depth)}`;

/** What is too large to be kept in files. */
function recipes(): Buffer[] {
  return [
    create(ofBytes(BODY_LIMIT_BYTES)),
    create(ofBytes(BODY_LIMIT_BYTES + 1)),
    ...['a', '\\u0000', '🌱', '\\ud800'].map((text) => create(batch(`,"description":"${text.repeat(160_000)}"`))),
    create(batch(`,"metadata":{"${'k'.repeat(1_000_000)}":"a"}`)),
    create(batch(`,"metadata":{${Array.from({ length: 60_000 }, (_, i) => `"k${i}":1`).join(',')}}`)),
    create(batch(Array.from({ length: 60_000 }, (_, i) => `,"name":"${i}"`).join(''))),
    create(`[${'1,'.repeat(500_000)}1]`),
    // The key names a batch by then, and a body that is refused is held against the one that made it.
    create(batch(''), 'deep'),
    ...NEAR_THE_END.map((depth) => create(deep(depth, '[', ']'), 'deep')),
    ...nastyBatches(),
    ...DEPTHS.flatMap((depth) => [
      create(deep(depth, '[', ']'), 'deep'),
      create(deep(depth, '{"a":', '}'), 'deep'),
      create(batch(`,"metadata":${deep(depth, '{"a":', '}')}`), 'deep'),
    ]),
  ];
}

/** Good bodies but for what their texts hold. */
function nastyBatches(): Buffer[] {
  const random = seededRandom(1);
  const pieces = [
    'a',
    '\0',
    '\u2028',
    '\ufeff',
    '\uffff',
    '🌱',
    '\ud800',
    '\udfff',
    'e\u0301',
    '__proto__',
    '\u202e',
    '"\\',
    '\n',
  ];
  const text = (most: number) => Array.from({ length: random.int(1, most) }, () => random.pick(pieces)).join('');
  return Array.from({ length: 300 }, () => {
    const metadata = Object.fromEntries(Array.from({ length: random.int(0, 3) }, () => [text(3), text(5)]));
    const more = JSON.stringify({ description: text(6), metadata }).slice(1, -1);
    return create(batch(`,${more},"name":${JSON.stringify(text(2))}`));
  });
}

let world: ApiWorld | undefined;

/** Bodies, queries, paths, tokens and headers, at the functions behind the API. */
export const http: Target = {
  name: 'http',
  executions: 2_500,
  seeds: recipes,
  async start() {
    world = await startApiWorld();
  },
  async check(input) {
    if (world === undefined) throw new Error('The target was not started');
    await checkRequest(world, input);
  },
  close: async () => world?.close(),
};
