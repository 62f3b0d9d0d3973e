import { isObject } from './statesError.ts';

/**
 * What of the States language the local run understands. Everything else is refused by name when a machine is loaded:
 * the interpreter underneath would skip it in silence.
 */

const ANY_STATE = ['Type', 'Comment', 'QueryLanguage', 'InputPath', 'OutputPath'];
const STATE_FIELDS: Record<string, readonly string[]> = {
  Task: [
    ...ANY_STATE,
    ...['Next', 'End', 'Resource', 'Parameters', 'ResultSelector', 'ResultPath', 'Retry', 'Catch', 'TimeoutSeconds'],
  ],
  Map: [
    ...ANY_STATE,
    ...['Next', 'End', 'ResultSelector', 'ResultPath', 'Retry', 'Catch', 'Label', 'ItemProcessor', 'ItemReader'],
    ...['ItemSelector', 'ResultWriter', 'MaxConcurrency', 'MaxConcurrencyPath', 'ToleratedFailureCount'],
    ...['ToleratedFailureCountPath', 'ToleratedFailurePercentage', 'ToleratedFailurePercentagePath'],
  ],
  Choice: [...ANY_STATE, 'Choices', 'Default'],
  Wait: [...ANY_STATE, 'Next', 'End', 'Seconds', 'SecondsPath', 'Timestamp', 'TimestampPath'],
  Pass: [...ANY_STATE, 'Next', 'End', 'Result', 'Parameters', 'ResultPath'],
  Succeed: ANY_STATE,
  Fail: ['Type', 'Comment', 'QueryLanguage', 'Error', 'ErrorPath', 'Cause', 'CausePath'],
};
const MACHINE_FIELDS = ['Comment', 'StartAt', 'States', 'Version', 'TimeoutSeconds', 'QueryLanguage'];
const PROCESSOR_FIELDS = ['Comment', 'StartAt', 'States', 'ProcessorConfig'];
const RETRY_FIELDS = [
  ...['ErrorEquals', 'IntervalSeconds', 'MaxAttempts', 'BackoffRate', 'MaxDelaySeconds', 'JitterStrategy', 'Comment'],
];
const CATCH_FIELDS = ['ErrorEquals', 'Next', 'ResultPath', 'Comment'];

const COMPARISONS = new Set([
  ...['String', 'Numeric', 'Timestamp'].flatMap((type) =>
    ['Equals', 'LessThan', 'GreaterThan', 'LessThanEquals', 'GreaterThanEquals'].flatMap((operator) => [
      `${type}${operator}`,
      `${type}${operator}Path`,
    ]),
  ),
  ...['BooleanEquals', 'BooleanEqualsPath', 'StringMatches'],
  ...['IsNull', 'IsPresent', 'IsNumeric', 'IsString', 'IsBoolean', 'IsTimestamp'],
]);

const INTRINSICS = new Set(
  [
    ...['Format', 'StringToJson', 'JsonToString', 'Array', 'ArrayPartition', 'ArrayContains', 'ArrayRange'],
    ...['ArrayGetItem', 'ArrayLength', 'ArrayUnique', 'Base64Encode', 'Base64Decode', 'Hash', 'JsonMerge'],
    ...['MathRandom', 'MathAdd', 'StringSplit', 'UUID'],
  ].map((name) => `States.${name}`),
);

/** Of the context object. */
const CONTEXT_PATH =
  /^\$\$\.(?:Execution\.(?:Id|Name|StartTime|Input)|StateMachine\.(?:Id|Name)|Map\.Item\.(?:Index|Value))(?![\w-])/;

// Node's timers, which the interpreter sets, end there.
export const LONGEST_WAIT_SECONDS = 2_147_483;

export class UnsupportedFeature extends Error {
  override readonly name = 'UnsupportedFeature';
}

export function refuse(where: string, what: string): never {
  throw new UnsupportedFeature(`${where}: ${what} is not supported by the local run.`);
}

/** Throws `UnsupportedFeature` where `value` has a field that is not in `known`. */
export function onlyFields(value: Record<string, unknown>, known: readonly string[], where: string): void {
  for (const field of Object.keys(value)) if (!known.includes(field)) refuse(where, `the field ${field}`);
}

/** Looks at a machine, and at the processors of the distributed maps in it. */
export function checkFeatures(
  definition: Record<string, unknown>,
  where: string,
  kind: 'machine' | 'processor' = 'machine',
): void {
  onlyFields(definition, kind === 'machine' ? MACHINE_FIELDS : PROCESSOR_FIELDS, where);
  checkLanguage(definition, where);
  if (definition.Version !== undefined && definition.Version !== '1.0') refuse(where, `Version ${definition.Version}`);
  if (!isObject(definition.States)) refuse(where, 'a definition without States');
  for (const [name, state] of Object.entries(definition.States)) {
    const at = `${where}, state ${name}`;
    if (!isObject(state)) refuse(at, 'a state that is not an object');
    const fields = STATE_FIELDS[String(state.Type)];
    if (!fields) refuse(at, `the state type ${String(state.Type)}`);
    checkLanguage(state, at);
    // A processor is checked as a machine of its own.
    const { ItemProcessor, ...own } = state;
    if (isObject(ItemProcessor) && isObject(ItemProcessor.ProcessorConfig)) {
      const { ProcessorConfig } = ItemProcessor;
      onlyFields(ProcessorConfig, ['Mode', 'ExecutionType'], `${at}, ProcessorConfig`);
      if (ProcessorConfig.Mode !== 'DISTRIBUTED') refuse(at, `ProcessorConfig.Mode ${ProcessorConfig.Mode}`);
      if (ProcessorConfig.ExecutionType !== 'STANDARD') {
        refuse(at, `ProcessorConfig.ExecutionType ${ProcessorConfig.ExecutionType}`);
      }
      checkFeatures(ItemProcessor, at, 'processor');
    } else if (state.Type === 'Map') refuse(at, 'a Map without ProcessorConfig.Mode DISTRIBUTED');
    onlyFields(state, fields, at);
    checkExpressions(own, at, state.Type === 'Map');
    for (const retrier of listOf(state.Retry)) onlyFields(retrier, RETRY_FIELDS, `${at}, Retry`);
    for (const catcher of listOf(state.Catch)) onlyFields(catcher, CATCH_FIELDS, `${at}, Catch`);
    for (const rule of listOf(state.Choices)) checkRule(rule, `${at}, Choices`);
    if (state.Type === 'Pass' && 'Result' in state && !state.Result) refuse(at, 'an empty Result');
    if (typeof state.Seconds === 'number' && state.Seconds > LONGEST_WAIT_SECONDS) {
      refuse(at, `a wait of more than ${LONGEST_WAIT_SECONDS} seconds`);
    }
  }
}

function checkLanguage(value: Record<string, unknown>, where: string): void {
  if (value.QueryLanguage !== undefined && value.QueryLanguage !== 'JSONPath') {
    refuse(where, `QueryLanguage ${String(value.QueryLanguage)}`);
  }
}

function checkRule(rule: Record<string, unknown>, where: string): void {
  for (const [field, value] of Object.entries(rule)) {
    if (field === 'And' || field === 'Or') for (const part of listOf(value)) checkRule(part, where);
    else if (field === 'Not' && isObject(value)) checkRule(value, where);
    else if (field !== 'Variable' && field !== 'Next' && field !== 'Comment' && !COMPARISONS.has(field)) {
      refuse(where, `the comparison ${field}`);
    }
  }
}

/** Every path and intrinsic function in the state, wherever it stands. */
function checkExpressions(value: unknown, where: string, inMap: boolean, field = ''): void {
  if (Array.isArray(value)) for (const part of value) checkExpressions(part, where, inMap, field);
  else if (isObject(value))
    for (const [name, part] of Object.entries(value)) checkExpressions(part, where, inMap, name);
  else if (typeof value === 'string' && (field.endsWith('.$') || field.endsWith('Path') || field === 'Variable')) {
    if (!value.startsWith('$') && !field.endsWith('.$')) refuse(where, `${field} with ${value}`);
    for (const [name] of value.matchAll(/\bStates\.\w+/g)) {
      if (!value.startsWith('$') && !INTRINSICS.has(name)) refuse(where, `the intrinsic function ${name}`);
    }
    for (const match of value.matchAll(/\$\$/g)) {
      const path = value.slice(match.index);
      if (!CONTEXT_PATH.test(path)) refuse(where, `the context path ${path}`);
      // The interpreter would put the Pass state's own input and time there.
      if (inMap && !value.startsWith('$') && /^\$\$\.Execution\.(?:Input|StartTime)/.test(path)) {
        refuse(where, `the context path ${path} inside an intrinsic function`);
      }
      if (!inMap && path.startsWith('$$.Map.')) refuse(where, `the context path ${path} outside an ItemSelector`);
    }
  }
}

function listOf(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}
