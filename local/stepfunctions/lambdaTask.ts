import { onlyFields, refuse } from './features.ts';
import type { StateBody } from './machineRun.ts';
import { checkPayloadSize, isObject, type Json, runtimeError, StatesError } from './statesError.ts';

/** Runs a function to its end. `error` is what the function itself failed with; a throw is the host's failure. */
export type InvokeFunction = (
  functionArn: string,
  payload: unknown,
) => Promise<{ payload: unknown } | { error: { errorType: string; errorMessage: string } }>;

const LAMBDA_INVOKE = /^arn:[^:]+:states:::lambda:invoke$/;

/** A Task state: the request-response integration with Lambda is the only one here. */
export function loadLambdaTask(
  state: Record<string, unknown>,
  where: string,
  invokeFunction: InvokeFunction,
): StateBody {
  if (typeof state.Resource !== 'string' || !LAMBDA_INVOKE.test(state.Resource)) {
    refuse(where, `the Resource ${String(state.Resource)}`);
  }
  if (!isObject(state.Parameters)) refuse(where, 'lambda:invoke without Parameters');
  onlyFields(state.Parameters, ['FunctionName', 'FunctionName.$', 'Payload', 'Payload.$'], `${where}, Parameters`);
  return async (input) => {
    if (!isObject(input) || typeof input.FunctionName !== 'string') {
      throw runtimeError('FunctionName is not a text.');
    }
    // What is left of a state's input is JSON.
    const payload = (input.Payload ?? {}) as Json;
    checkPayloadSize(payload, "The function's payload");
    const answer = await invokeFunction(input.FunctionName, payload).catch((error: unknown) => {
      // What Step Functions reports where Lambda could not be reached, and what machines retry.
      throw new StatesError('Lambda.SdkClientException', error instanceof Error ? error.message : String(error));
    });
    if ('error' in answer) {
      const { errorType, errorMessage } = answer.error;
      // The function's own error name is the state's; a function that died without one is unknown.
      throw new StatesError(errorType || 'Lambda.Unknown', JSON.stringify({ errorType, errorMessage }));
    }
    // A function answers JSON, and undefined is null on the wire.
    const result = { ExecutedVersion: '$LATEST', Payload: (answer.payload ?? null) as Json, StatusCode: 200 };
    return JSON.parse(checkPayloadSize(result, "The function's answer")) as Json;
  };
}
