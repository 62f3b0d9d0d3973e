import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Stack } from 'aws-cdk-lib';
import { Template as Synthesized } from 'aws-cdk-lib/assertions';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { DefinitionBody, StateMachine, Succeed } from 'aws-cdk-lib/aws-stepfunctions';
import { beforeAll, describe, expect, test } from 'vitest';
import { readStage } from '../../infra/config.ts';
import { BatchAlarms, LOGGED } from '../../infra/constructs/alarms.ts';
import { BatchTable } from '../../infra/constructs/batchTable.ts';
import { readAssembly } from '../../local/template/assembly.ts';
import { planFromAssembly } from '../../local/template/readTemplate.ts';
import { makeDataDir } from '../support/localRun.ts';
import { ofType, synthesize, type Template } from './synth.ts';

const ROOT = join(import.meta.dirname, '../..');
let template: Template;
let outdir: string;
beforeAll(() => {
  ({ template, outdir } = synthesize('prod'));
});

type Alarm = Record<string, unknown> & { Metrics?: unknown[]; AlarmDescription: string };
const alarms = () =>
  new Map(
    ofType(template, 'AWS::CloudWatch::Alarm').map(([id, { Properties }]) => [
      // `Alarms<name><hash of 8>`
      id.slice('Alarms'.length, -8),
      Properties as Alarm,
    ]),
  );
const filters = () => ofType(template, 'AWS::Logs::MetricFilter').map(([, resource]) => resource.Properties);
const idOf = (type: string, part: string) => ofType(template, type).find(([id]) => id.includes(part))?.[0];

describe('the alarms', () => {
  test('are these, each from its bound on', () => {
    const bounds = [...alarms()].map(([name, { Threshold, ComparisonOperator, Period, EvaluationPeriods }]) => [
      name,
      `${ComparisonOperator === 'LessThanThreshold' ? '<' : '≥'} ${Threshold}`,
      Period,
      EvaluationPeriods,
    ]);
    expect(bounds.sort()).toEqual([
      ['CannotBeEnded', '≥ 1', 3600, 1],
      ['CheckAbsent', '< 1', 300, 1],
      ['CheckFails', '≥ 3', 300, 1],
      ['ExecutionsFail', '≥ 4', 3600, 1],
      ['ExecutionsTimeOut', '≥ 1', 3600, 1],
      ['NotChecked', '≥ 5', 900, 1],
      ['NotificationsFail', '≥ 5', 3600, 1],
      ['NotificationsGivenUp', '≥ 5', 3600, 1],
      ['PartMissing', '≥ 1', 3600, 1],
      // Of sums, whose metrics have the period.
      ['SweepFails', '≥ 1', undefined, 1],
      ['TableThrottled', '≥ 100', undefined, 3],
      ['WorkersThrottled', '≥ 1', 300, 3],
    ]);
  });

  test('are quiet where nothing happens, but for the check that does not run', () => {
    for (const [name, { TreatMissingData }] of alarms())
      expect(TreatMissingData, name).toBe(name === 'CheckAbsent' ? 'breaching' : 'notBreaching');
  });

  test('say what they mean, and each has its part of docs/operations.md', () => {
    const manual = readFileSync(join(ROOT, 'docs/operations.md'), 'utf8');
    for (const [name, { AlarmDescription }] of alarms()) {
      expect(AlarmDescription).toContain(`See docs/operations.md, "${name}".`);
      expect(manual, name).toContain(`**${name}**`);
    }
  });

  test('look at the batch machine, the check, the workers and the table', () => {
    const text = (name: string) => JSON.stringify(alarms().get(name));
    expect(text('ExecutionsFail')).toContain(idOf('AWS::StepFunctions::StateMachine', 'BatchMachine'));
    expect(text('NotificationsFail')).toContain(idOf('AWS::StepFunctions::StateMachine', 'NotificationMachine'));
    expect(text('CheckFails')).toContain(idOf('AWS::Lambda::Function', 'ScheduleCheckBatches'));
    expect(text('SweepFails')).toContain(idOf('AWS::Lambda::Function', 'ScheduleSweepBatches'));
    expect(text('WorkersThrottled')).toContain(idOf('AWS::Lambda::Function', 'WorkflowRunShard'));
    expect(text('TableThrottled')).toContain(idOf('AWS::DynamoDB::Table', 'RecordsTable'));
  });

  test('tell nobody unless the stage names a topic', () => {
    for (const [name, { AlarmActions }] of alarms()) expect(AlarmActions, name).toBeUndefined();
  });

  test('mean nothing to the local run, which knows them all the same', () => {
    expect(() => planFromAssembly(readAssembly(outdir))).not.toThrow();
  });
});

describe('what is counted in logs', () => {
  test('is counted once, under a name of the stack’s own', () => {
    for (const { MetricTransformations } of filters())
      expect(MetricTransformations).toEqual([
        expect.objectContaining({ MetricNamespace: 'BatchApi/batch-api-prod', MetricValue: '1' }),
      ]);
    const names = filters().map(
      ({ MetricTransformations }) => (MetricTransformations as { MetricName: string }[])[0]?.MetricName,
    );
    expect(names.toSorted()).toEqual([
      'CannotBeEnded',
      'NotChecked',
      'NotificationsGivenUp',
      'PartMissing',
      'SweepErrors',
    ]);
  });

  test.each([
    ['CannotBeEnded', 'ScheduleCheckBatches', '{ $.message = "A batch cannot be ended*" }'],
    ['NotChecked', 'ScheduleCheckBatches', '{ $.message = "A batch could not be checked*" }'],
    ['PartMissing', 'WorkflowFinalizeBatch', '{ $.message = "A committed part is missing*" }'],
    ['SweepErrors', 'ScheduleSweepBatches', '{ $.level = "ERROR" }'],
    [
      'NotificationsGivenUp',
      'WorkflowNotifyReceiver',
      '{ ($.message = "Notification attempted") && ($.result = "gave_up") }',
    ],
  ])('%s: in the log of %s, %s', (name, of, pattern) => {
    const filter = filters().find(({ MetricTransformations }) => JSON.stringify(MetricTransformations).includes(name));
    expect(filter?.FilterPattern).toBe(pattern);
    expect(JSON.stringify(filter?.LogGroupName)).toContain(`Functions${of}Logs`);
  });

  test('is what the code logs, in those words', () => {
    const sources = readdirSync(join(ROOT, 'shared'), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts'))
      .map((path) => readFileSync(join(ROOT, 'shared', path), 'utf8'))
      .join('\n');
    for (const line of [...Object.values(LOGGED), 'Notification attempted']) expect(sources).toContain(`'${line}`);
    expect(sources).toContain("kind: 'gave_up'");
  });
});

describe('a stage', () => {
  /** Something to watch, without the bundles that the whole stack takes its time for. */
  const watched = (stack: Stack) => {
    const logGroup = new LogGroup(stack, 'Logs');
    const code = lambda.Code.fromInline('exports.handler = () => {}');
    const shape = { code, handler: 'index.handler', runtime: lambda.Runtime.NODEJS_24_X, logGroup };
    const made = new lambda.Function(stack, 'Function', shape);
    const machine = (id: string) =>
      new StateMachine(stack, id, { definitionBody: DefinitionBody.fromChainable(new Succeed(stack, `${id}Ended`)) });
    return {
      functions: { get: () => made },
      table: new BatchTable(stack, 'Records', { keepData: false }).table,
      machines: { batch: machine('Batch'), notification: machine('Notification') },
    };
  };
  const written = async (stage: Record<string, unknown>) => {
    const path = join(await makeDataDir(), 'config.json');
    writeFileSync(path, JSON.stringify({ stages: { prod: stage } }));
    return path;
  };

  test('may name a topic that alarms are told to', async () => {
    const alarmTopicArn = 'arn:aws:sns:eu-central-1:123456789012:operators';
    expect(readStage('prod', {}, await written({ alarmTopicArn })).alarmTopicArn).toBe(alarmTopicArn);
    const stage = { ...readStage('prod'), alarmTopicArn };
    const stack = new Stack();
    new BatchAlarms(stack, 'Alarms', { stage, ...watched(stack) });
    // Parsed CloudFormation text.
    const told = Synthesized.fromStack(stack).toJSON() as Template;
    expect(ofType(told, 'AWS::CloudWatch::Alarm')).toHaveLength(alarms().size);
    for (const [id, { Properties }] of ofType(told, 'AWS::CloudWatch::Alarm'))
      expect(Properties.AlarmActions, id).toEqual([alarmTopicArn]);
    expect(ofType(told, 'AWS::SNS::Topic')).toEqual([]);
  });

  test('whose topic is none is refused by name', async () => {
    const wrong = await written({ alarmTopicArn: 'operators@example.com' });
    expect(() => readStage('prod', {}, wrong)).toThrow(/alarmTopicArn: must be the ARN of an SNS topic/);
  });
});
