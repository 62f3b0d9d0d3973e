import middy from '@middy/core';
import type { Context } from 'aws-lambda';
import { methodsAt } from '../contract/matchRoute.ts';
import { ApiError } from '../domain/errors.ts';
import type { Log } from '../ports.ts';
import { type HttpEvent, type HttpResult, pathOf } from './http/event.ts';
import { errorAnswer, requestLog } from './http/middlewares.ts';
import { lambdaHandler } from './lambdaHandler.ts';
import { meteredHandler } from './metering.ts';

/** What the gateway has no route for: 405 with `Allow` where the table knows the path, else 404. */
export function noRouteHandler({ log }: { log: Log }): (event: HttpEvent, context: Context) => Promise<HttpResult> {
  const handler = middy<HttpEvent, HttpResult, Error, Context>()
    .use(requestLog(log))
    .use(errorAnswer(log))
    .handler((event: HttpEvent) => {
      const path = pathOf(event);
      const { method } = event.requestContext.http;
      const allowed = methodsAt(path);
      if (allowed.length === 0) throw new ApiError('not_found', `No route ${path.slice(0, 128)}.`);
      throw new ApiError('method_not_allowed', `${path.slice(0, 128)} does not take ${method}.`, {
        headers: { Allow: allowed.join(', ') },
      });
    });
  return lambdaHandler(
    meteredHandler({ function: 'noRoute', kind: 'request' }, (event: HttpEvent, context: Context) =>
      handler(event, context),
    ),
  );
}
