import middy from '@middy/core';
import type { Context } from 'aws-lambda';
import { answerBytes, MAX_ANSWER_BYTES } from '../contract/answerSize.ts';
import { type ApiAnswer, type ApiRequest, apiOf, isOptional } from '../contract/api.ts';
import { IDEMPOTENCY_HEADER } from '../contract/batchRequests.ts';
import { type RouteName, routes } from '../contract/routes.ts';
import type { Settings } from '../contract/settings.ts';
import type { Log } from '../ports.ts';
import type { ProjectCaller } from '../usecases/authenticate.ts';
import { type HttpEvent, type HttpResult, headerOf } from './http/event.ts';
import {
  checkedBy,
  errorAnswer,
  jsonBody,
  jsonResult,
  operatorOnly,
  projectOnly,
  requestLog,
} from './http/middlewares.ts';
import { lambdaHandler } from './lambdaHandler.ts';
import { meteredHandler } from './metering.ts';

type CallerOf<R extends RouteName> = (typeof routes)[R]['caller'];

/** How the route's kind of caller is recognized. */
type Guard<R extends RouteName> =
  CallerOf<R> extends 'project'
    ? {
        authenticate: (authorization: string | undefined) => Promise<ProjectCaller>;
        /** Throws where the project's quota of requests is used up. */
        admit: (caller: ProjectCaller) => Promise<void>;
      }
    : CallerOf<R> extends 'operator'
      ? { authenticateOperator: (managementKey: string | undefined) => Promise<void> }
      : Record<never, never>;

type Run<R extends RouteName, A extends ApiAnswer<R>> = (
  request: ApiRequest<R>,
  caller: CallerOf<R> extends 'project' ? ProjectCaller : undefined,
) => Promise<A>;

/** What a request that is refused has of its own, unchecked: enough to know it again. */
type Refused = { params: Record<string, string | undefined>; sent: unknown; idempotencyKey: string | undefined };

/** Time kept back to answer in our own shape when a handler hangs. */
const TIMEOUT_EARLY_MS = 500;

/**
 * The handler of one route of the table: knows the caller, checks the request, runs `run`, and parses its answer by the
 * answer's schema, so that nothing leaves that the contract does not name. `repeated` may answer a request that is refused, as a repeat of one
 * that was taken.
 */
export function httpHandler<R extends RouteName, const A extends ApiAnswer<R>>(
  name: R,
  deps: { settings: Settings; log: Log } & Guard<R>,
  run: Run<R, A>,
  repeated?: (refused: Refused, caller: Parameters<Run<R, A>>[1]) => Promise<ApiAnswer<R> | undefined>,
): (event: HttpEvent, context: Context) => Promise<HttpResult> {
  const { settings, log } = deps;
  const route = routes[name];
  const exchange = apiOf(settings)[name];

  const stack = middy<HttpEvent, HttpResult, Error, Context>({ timeoutEarlyInMillis: TIMEOUT_EARLY_MS })
    .use(requestLog(log))
    .use(errorAnswer(log));
  if (route.caller === 'project' && 'authenticate' in deps) stack.use(projectOnly(deps, route.access));
  else if (route.caller === 'operator' && 'authenticateOperator' in deps)
    stack.use(operatorOnly(deps.authenticateOperator));
  else if (route.caller !== 'anyone') throw new Error(`The route ${name} has nothing to recognize its callers by.`);
  if (exchange.body !== undefined)
    stack.use(jsonBody(settings.limits.requestBodyBytes, { optional: isOptional(exchange.body) }));
  // `projectOnly` sets the caller of a project's route.
  const callerOf = (event: HttpEvent) => event.caller as Parameters<Run<R, A>>[1];
  stack.use(
    checkedBy(exchange, async (event) => {
      const { pathParameters = {}, json: sent } = event;
      const answer = await repeated?.(
        { params: pathParameters, sent, idempotencyKey: headerOf(event, IDEMPOTENCY_HEADER) },
        callerOf(event),
      );
      return answer && resultOf(answer);
    }),
  );

  // `checkedBy` parsed it by this route's schemas.
  const handler = stack.handler(async (event: HttpEvent) =>
    resultOf(await run(event.checked as ApiRequest<R>, callerOf(event))),
  );

  function resultOf(answer: ApiAnswer<R>): HttpResult {
    // Every `ApiAnswer` is one of these: its keys are the statuses of the table of answers.
    const { status, body, headers } = answer as { status: number; body: unknown; headers?: Record<string, string> };
    const schema = (exchange.answers as Record<number, { parse(value: unknown): unknown }>)[status];
    if (schema === undefined) throw new Error(`The route ${name} has no answer ${status}.`);
    const result = jsonResult(status, schema.parse(body), headers);
    // Over it the gateway would answer in a shape of its own, and the log would not say why.
    if (answerBytes(result.body ?? '') > MAX_ANSWER_BYTES) throw new Error(`The answer of ${name} is too large.`);
    return result;
  }
  return lambdaHandler(
    meteredHandler({ function: name, kind: 'request' }, (event: HttpEvent, context: Context) =>
      handler(event, context),
    ),
  );
}
