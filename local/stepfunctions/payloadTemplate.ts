import { ExecutionError, StateMachine } from 'aws-local-stepfunctions';
import { isObject, type Json, type JsonObject, runtimeError } from './statesError.ts';

/** What `$$.` reaches. https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html */
export type StatesContext = {
  Execution: { Id: string; Name: string; StartTime: string; Input: Json };
  StateMachine: { Id: string; Name: string };
  Map?: { Item: { Index: number; Value: Json } };
};

/** Evaluates against a state's input and the context object. */
export type Evaluate = (input: Json, context: StatesContext) => Promise<Json>;

const REFERENCE_PATH = /^\$\$?(?:\.[A-Za-z_][\w-]*|\['[^'\\]*'\]|\[\d+\])*$/;
const STEP = /\.([A-Za-z_][\w-]*)|\['([^'\\]*)'\]|\[(\d+)\]/g;

/**
 * Payload templates of the fields that the interpreter does not know (ItemReader, ItemSelector, ResultWriter). Plain
 * reference paths are followed here, since a map does so for every item; anything else (intrinsic functions, filters)
 * is handed to the interpreter as a Pass state of its own.
 */
export function compileTemplate(template: Json): Evaluate {
  if (Array.isArray(template)) {
    const parts = template.map(compileTemplate);
    return async (input, context) => Promise.all(parts.map((part) => part(input, context)));
  }
  if (typeof template !== 'object' || template === null) return async () => template;
  const fields = Object.entries(template).map(([key, value]): [string, Evaluate] =>
    key.endsWith('.$') && typeof value === 'string'
      ? [key.slice(0, -2), compilePath(value)]
      : [key, compileTemplate(value)],
  );
  return async (input, context) => {
    const result: JsonObject = {};
    for (const [key, evaluate] of fields) result[key] = await evaluate(input, context);
    return result;
  };
}

/** One path or intrinsic function. */
export function compilePath(expression: string): Evaluate {
  if (!REFERENCE_PATH.test(expression)) return (input, context) => byInterpreter(expression, input, context);
  const steps = [...expression.matchAll(STEP)].map((match) => match[1] ?? match[2] ?? Number(match[3]));
  const ofContext = expression.startsWith('$$');
  return async (input, context) => {
    let value: unknown = ofContext ? context : input;
    for (const step of steps) {
      if (typeof step === 'number' ? Array.isArray(value) : isObject(value) && Object.hasOwn(value, step)) {
        value = (value as Record<string | number, unknown>)[step];
      } else value = undefined;
      if (value === undefined) throw runtimeError(`The path '${expression}' does not point to a value.`);
    }
    // What JSON and a context made of JSON hold is JSON.
    return value as Json;
  };
}

async function byInterpreter(expression: string, input: Json, context: StatesContext): Promise<Json> {
  const machine = new StateMachine(
    { StartAt: 'Value', States: { Value: { Type: 'Pass', Parameters: { 'value.$': expression }, End: true } } },
    { validationOptions: { noValidate: true } },
  );
  try {
    const result = await machine.run(input, { context }).result;
    // The Pass state's output is its Parameters.
    return (result as { value: Json }).value;
  } catch (error) {
    const cause = error instanceof ExecutionError ? error.cause : error;
    throw runtimeError(`'${expression}': ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}
