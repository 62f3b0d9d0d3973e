import assert from 'node:assert/strict';
import { systemClock } from '../../../shared/adapters/system/clock.ts';
import { systemIds } from '../../../shared/adapters/system/ids.ts';
import { batchWithErrorsView } from '../../../shared/contract/batchView.ts';
import { ErrorView } from '../../../shared/contract/errorView.ts';
import { type RouteName, routes } from '../../../shared/contract/routes.ts';
import { SettingsSchema } from '../../../shared/contract/settings.ts';
import { API_ERRORS, ApiError } from '../../../shared/domain/errors.ts';
import type { HttpEvent, HttpResult } from '../../../shared/lambda/http/event.ts';
import { httpHandler } from '../../../shared/lambda/httpHandler.ts';
import type { Ports } from '../../../shared/ports.ts';
import { createBatch } from '../../../shared/usecases/createBatch.ts';
import { startDynalite } from '../../support/dynalite.ts';
import { httpEvent, lambdaContext } from '../../support/httpEvents.ts';
import { recordedLog } from '../../support/recordedLog.ts';
import { tablePortsOn } from '../../support/tablePorts.ts';
import { numberOf, type Target } from '../target.ts';

type Handler = (event: HttpEvent, context: ReturnType<typeof lambdaContext>) => Promise<HttpResult>;

const MIB = 1024 * 1024;
const NAMES = Object.keys(routes) as RouteName[];
const STATUSES = new Set([200, 201, ...Object.values(API_ERRORS)].filter((status) => status !== 500));

/**
 * What stands in a request, through the handlers: an input is the route's name, the query, a path parameter, the content
 * type and the idempotency key, a line each, and then the body. Every answer is one of the contract's, and a batch that
 * was made is kept as it was sent. Batches are made in a real table; the other routes end where their request is good.
 */
export async function requests(): Promise<Target> {
  const table = await startDynalite();
  const settings = SettingsSchema.parse({ allowPrivateNetworks: true });
  const log = recordedLog();
  // Just what the use case calls of it.
  const workflow = { startBatch: async () => 'started' } as unknown as Ports['workflow'];
  const unlimited = { openBatches: { take: async () => 'taken' as const, give: async () => undefined } };
  const ports = { ...tablePortsOn(table), ...unlimited, clock: systemClock, ids: systemIds, workflow, log, settings };
  const guards = {
    authenticate: async () => ({ projectId: 'acme', role: 'owner' as const }),
    admit: async () => undefined,
    authenticateOperator: async () => undefined,
  };
  const handlers = new Map<string, Handler>(
    NAMES.map((name) => [name, endingHandler(name, { settings, log, ...guards })]),
  );
  const creating: Handler = httpHandler('createBatch', { settings, log, ...guards }, async (request, caller) => {
    const { body, sent, headers } = request;
    const made = await createBatch(ports, caller, { body, sent, idempotencyKey: headers['Idempotency-Key'] });
    const view = batchWithErrorsView(made.head, made.detail, ports.clock.now());
    return made.created ? { status: 201, body: view } : { status: 200, body: view };
  });
  handlers.set('createBatch', creating);

  return {
    large: () => [
      requestOf({ body: batchOf({ description: 'x'.repeat(4_096) }) }),
      requestOf({ body: batchOf({ description: '\u{1f600}'.repeat(4_096) }) }),
      requestOf({ body: batchOf({ name: '\u0000'.repeat(256) }) }),
      requestOf({ body: 'x'.repeat(MIB + 1) }),
      requestOf({ body: '['.repeat(MIB) }),
      requestOf({ body: `{"metadata":${'{"a":'.repeat(50_000)}` }),
      requestOf({ body: `{${Array.from({ length: 50_000 }, (_, n) => `"${n}":${n}`).join()}}` }),
      requestOf({ name: 'listBatches', query: `${'a=1&'.repeat(2_000)}take=1` }),
      requestOf({ name: 'getBatch', param: 'x'.repeat(10_000) }),
    ],
    async check(input) {
      const [name = '', query = '', param = '', type = '', key = ''] = input.toString('latin1').split('\n', 5);
      const route = NAMES.find((each) => each === name) ?? NAMES[numberOf(input) % NAMES.length] ?? 'createBatch';
      const head = [name, query, param, type, key].reduce((bytes, line) => bytes + line.length + 1, 0);
      const body = input.subarray(Math.min(head, input.length));
      const event = httpEvent(route, {
        query,
        params: Object.fromEntries([...routes[route].path.matchAll(/\{(\w+)\}/g)].map(([, field]) => [field, param])),
        headers: { authorization: 'Bearer x', 'content-type': type, ...(key === '' ? {} : { 'idempotency-key': key }) },
      });
      const sent = body.length === 0 ? event : { ...event, body: body.toString('base64'), isBase64Encoded: true };
      const answer = await handlers.get(route)?.(sent, lambdaContext());
      assert(answer, route);
      checkAnswer(answer);
      if (answer.statusCode === 201 && route === 'createBatch') await checkKept(ports, answer, body);
      assert.equal(Reflect.get({}, 'polluted'), undefined, 'every object has it now');
      return `${answer.statusCode}`;
    },
    close: () => table.close(),
  };
}

/** The handler of a route up to its use case, which does not have what is asked for. */
function endingHandler(name: RouteName, deps: object): Handler {
  // Each route takes its own part of `deps`, which has all of them.
  return httpHandler(name, deps as never, async () => {
    throw new ApiError('not_found', 'There is nothing here.');
  });
}

function requestOf({ name = 'createBatch', query = '', param = '', key = '', body = '' }): Buffer {
  return Buffer.from([name, query, param, 'application/json', key, body].join('\n'));
}

const batchOf = (changed: object) =>
  JSON.stringify({
    name: 'fuzzed',
    type: 'COMPLETIONS',
    input_file_url: 'https://files.example/in.jsonl',
    callback_url: 'https://hooks.example/',
    ...changed,
  });

function checkAnswer({ statusCode, headers, body }: HttpResult): void {
  assert(STATUSES.has(statusCode ?? 0), `status ${statusCode}: ${body?.slice(0, 200)}`);
  assert.match(String(headers?.['Content-Type']), /^application\/json/);
  const parsed: unknown = JSON.parse(body ?? '');
  if ((statusCode ?? 0) < 400) return;
  const error = ErrorView.strict().parse(parsed);
  assert.equal(error.code, statusCode);
  assert(error.message.isWellFormed());
}

type Sent = { name: string; description?: string | null; metadata?: Record<string, string> };

/** The answer, and what is read back, say what was sent. */
async function checkKept({ batches }: Pick<Ports, 'batches'>, answer: HttpResult, body: Buffer): Promise<void> {
  const made = JSON.parse(answer.body ?? '') as Sent & { id: string; project_id: string };
  const sent = JSON.parse(body.toString()) as Sent;
  const wanted = { name: sent.name, description: sent.description ?? null, metadata: sent.metadata ?? {} };
  const { name, description = null, metadata = {} } = made;
  assert.deepEqual({ name, description, metadata }, wanted, 'the answer says another thing');
  const ref = { projectId: made.project_id, batchId: made.id };
  const [head, detail] = await Promise.all([batches.get(ref), batches.getDetail(made.id)]);
  const kept = { name: head?.name, description: detail?.description, metadata: detail?.metadata };
  assert.deepEqual(kept, wanted, 'another thing is kept');
}
