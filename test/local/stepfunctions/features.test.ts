import { expect, test } from 'vitest';
import { checkMachine } from '../../../local/stepfunctions/checkMachine.ts';
import { loadMachine, type MachineWorld } from '../../../local/stepfunctions/machine.ts';
import { invoke, only } from './harness.ts';
import { shardMap } from './shardMap.ts';

/** As it comes from a template. */
const asText = (definition: Record<string, unknown>) =>
  JSON.parse(JSON.stringify(definition)) as Record<string, unknown>;
/** The check, and what only shows when the machine is made. */
const load = (definition: Record<string, unknown>) => {
  checkMachine(definition, 'm');
  // Nothing of the world is looked at before an execution.
  return loadMachine(definition, 'm', {} as MachineWorld);
};
const map = (change: Record<string, unknown>) => only({ ...shardMap(), ...change });
const task = (change: Record<string, unknown>) => only({ ...invoke('f'), ...change });
const choice = (rule: Record<string, unknown>) => ({
  StartAt: 'Choose',
  States: { Choose: { Type: 'Choice', Choices: [{ ...rule, Next: 'End' }] }, End: { Type: 'Succeed' } },
});
const reader = shardMap().ItemReader;
const writer = shardMap().ResultWriter;

test.each<[string, Record<string, unknown>]>([
  ['QueryLanguage JSONata', { ...task({}), QueryLanguage: 'JSONata' }],
  ['QueryLanguage JSONata', task({ QueryLanguage: 'JSONata' })],
  ['the state type Parallel', only({ Type: 'Parallel', Branches: [], End: true })],
  ['the field HeartbeatSeconds', task({ HeartbeatSeconds: 5 })],
  ['the field Assign', task({ Assign: { x: 1 } })],
  ['the field TimeoutSecondsPath', task({ TimeoutSecondsPath: '$.t' })],
  ['the field Arguments', task({ Arguments: {} })],
  [
    'the Resource arn:aws:states:::lambda:invoke.waitForTaskToken',
    task({ Resource: 'arn:aws:states:::lambda:invoke.waitForTaskToken' }),
  ],
  ['the Resource arn:aws:states:::sqs:sendMessage', task({ Resource: 'arn:aws:states:::sqs:sendMessage' })],
  ['the field InvocationType', task({ Parameters: { FunctionName: 'f', InvocationType: 'Event' } })],
  ['the context path $$.Task.Token', task({ Parameters: { FunctionName: 'f', 'Payload.$': '$$.Task.Token' } })],
  [
    'the context path $$.State.RetryCount',
    task({ Parameters: { FunctionName: 'f', 'Payload.$': '$$.State.RetryCount' } }),
  ],
  [
    'the context path $$.Map.Item.Value outside an ItemSelector',
    task({ Parameters: { FunctionName: 'f', 'Payload.$': '$$.Map.Item.Value' } }),
  ],
  [
    'the intrinsic function States.Invented',
    task({ Parameters: { FunctionName: 'f', 'Payload.$': 'States.Invented($.a)' } }),
  ],
  ['the field Surprise', task({ Retry: [{ ErrorEquals: ['States.ALL'], Surprise: 1 }] })],
  ['the comparison Condition', choice({ Condition: '$.a', Variable: '$.a' })],
  ['the comparison StringIs', choice({ Not: { Variable: '$.a', StringIs: 'b' } })],
  ['an empty Result', only({ Type: 'Pass', Result: 0, End: true })],
  ['a wait of more than', only({ Type: 'Wait', Seconds: 3_000_000, End: true })],
  ['a Map without ProcessorConfig.Mode DISTRIBUTED', map({ ItemProcessor: only(invoke('f')) })],
  [
    'ProcessorConfig.Mode INLINE',
    map({ ItemProcessor: { ...only(invoke('f')), ProcessorConfig: { Mode: 'INLINE' } } }),
  ],
  [
    'ProcessorConfig.ExecutionType EXPRESS',
    map({
      ItemProcessor: { ...only(invoke('f')), ProcessorConfig: { Mode: 'DISTRIBUTED', ExecutionType: 'EXPRESS' } },
    }),
  ],
  [
    'the state type Parallel',
    map({ ItemProcessor: { ...shardMap().ItemProcessor, ...only({ Type: 'Parallel', Branches: [], End: true }) } }),
  ],
  ['the field ItemBatcher', map({ ItemBatcher: { MaxItemsPerBatch: 5 } })],
  ['the field ItemsPath', map({ ItemsPath: '$.items' })],
  ['a distributed map without ItemReader', map({ ItemReader: undefined })],
  ['a distributed map without ResultWriter', map({ ResultWriter: undefined })],
  [
    'the ItemReader Resource arn:aws:states:::s3:listObjectsV2',
    map({ ItemReader: { ...reader, Resource: 'arn:aws:states:::s3:listObjectsV2' } }),
  ],
  ['ReaderConfig.InputType CSV', map({ ItemReader: { ...reader, ReaderConfig: { InputType: 'CSV' } } })],
  ['the field MaxItems', map({ ItemReader: { ...reader, ReaderConfig: { InputType: 'JSONL', MaxItems: 1 } } })],
  [
    'WriterConfig.Transformation SHRINK',
    map({ ResultWriter: { ...writer, WriterConfig: { Transformation: 'SHRINK' } } }),
  ],
])('a machine with what is not understood is refused by name: %s', (named, definition) => {
  expect(() => load(asText(definition))).toThrow(named);
});

test('a machine with a transition to nowhere is refused, and named', () => {
  expect(() => checkMachine(only(invoke('f', { Next: 'Nowhere' })), 'The state machine broken')).toThrow(
    /^The state machine broken: /,
  );
});
