import type { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';

/**
 * Loses the answers of the next writes: the table has done them, the client meets a broken connection and, being the
 * real SDK, sends them again. Answers how many were lost so far.
 */
export function loseAnswers(client: DynamoDBDocumentClient, operation: string, count: number): () => number {
  let lost = 0;
  client.middlewareStack.add(
    (next, context) => async (args) => {
      // lib-dynamodb's commands run the client's: `PutCommand` is a `PutItemCommand` on the wire.
      if (lost >= count || !String(context.commandName).startsWith(operation)) return await next(args);
      lost++;
      // A refusal is lost as well as a success.
      await next(args).catch(() => undefined);
      throw Object.assign(new Error('The connection was reset'), { name: 'TimeoutError', code: 'ECONNRESET' });
    },
    // `deserialize` lies inside the retries.
    { step: 'deserialize', name: `loseAnswers${Math.random()}`, priority: 'high' },
  );
  return () => lost;
}
