import { withoutContent } from '../domain/loggedError.ts';

/**
 * A handler as Lambda is given it. What it throws is printed by the runtime and stands in Step Functions' history, with
 * message and stack: both get no more of it than a log line would hold. The name stays, which machines match.
 */
export function lambdaHandler<E, C, R>(
  handler: (event: E, context: C) => Promise<R>,
): (event: E, context: C) => Promise<R> {
  return async (event, context) => {
    try {
      return await handler(event, context);
    } catch (error) {
      throw withoutContent(error);
    }
  };
}
