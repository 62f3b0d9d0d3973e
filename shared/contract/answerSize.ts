/**
 * A synchronous answer of Lambda ends at 6 MB (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html);
 * over it the gateway answers an error of its own. 100 KB are kept back for status and headers.
 */
export const MAX_ANSWER_BYTES = 5_900_000;

/** Bytes that a body takes up of `MAX_ANSWER_BYTES`: it is a text in the function's answer, escaped as JSON once more. */
export function answerBytes(body: string): number {
  return Buffer.byteLength(JSON.stringify(body));
}
