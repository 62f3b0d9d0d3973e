// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are CloudFormation's own placeholders
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT, synthesize } from '../../../local/synth.ts';
import { type Assembly, parseTemplate, readAssembly } from '../../../local/template/assembly.ts';
import { planFromAssembly } from '../../../local/template/readTemplate.ts';
import { DEFAULT_ROUTE_FUNCTION, routes } from '../../../shared/contract/routes.ts';

const fn = (properties: Record<string, unknown> = {}) => ({
  Type: 'AWS::Lambda::Function',
  Properties: {
    Handler: 'index.handler',
    Runtime: 'nodejs24.x',
    Code: { S3Bucket: { 'Fn::Sub': 'assets-${AWS::AccountId}-${AWS::Region}' }, S3Key: 'abc.zip' },
    Role: { 'Fn::GetAtt': ['Role', 'Arn'] },
    ...properties,
  },
});

function plan(template: Record<string, unknown>) {
  const assembly: Assembly = {
    stackName: 'stack',
    template: parseTemplate(template),
    codeFolders: new Map([['abc.zip', '/assets/abc']]),
  };
  return planFromAssembly(assembly);
}

describe('reading a template', () => {
  it('takes a function with its code, limits and variables, resolved to local names', () => {
    const { functions } = plan({
      Resources: {
        Table: {
          Type: 'AWS::DynamoDB::Table',
          Properties: {
            KeySchema: [{ AttributeName: 'pk', KeyType: 'HASH' }],
            AttributeDefinitions: [{ AttributeName: 'pk', AttributeType: 'S' }],
            BillingMode: 'PAY_PER_REQUEST',
          },
        },
        Fn: fn({
          Timeout: 29,
          MemorySize: 512,
          Environment: { Variables: { TABLE_NAME: { Ref: 'Table' }, ARN: { 'Fn::GetAtt': 'Table.Arn' }, COUNT: 3 } },
        }),
      },
    });
    expect(functions).toEqual([
      {
        logicalId: 'Fn',
        name: 'stack-Fn',
        arn: 'arn:aws:lambda:us-east-1:000000000000:function:stack-Fn',
        entryFile: '/assets/abc/index.mjs',
        handlerExport: 'handler',
        environment: {
          TABLE_NAME: 'stack-Table',
          ARN: 'arn:aws:dynamodb:us-east-1:000000000000:table/stack-Table',
          COUNT: '3',
        },
        timeoutSeconds: 29,
        memoryMb: 512,
        reservedConcurrency: undefined,
      },
    ]);
  });

  it('resolves every intrinsic that it knows', () => {
    const { outputs } = plan({
      Parameters: { Given: { Type: 'String', Default: 'default' } },
      Mappings: { Map: { 'us-east-1': { key: 'mapped' } } },
      Conditions: {
        Yes: { 'Fn::Equals': [{ Ref: 'AWS::Region' }, 'us-east-1'] },
        No: { 'Fn::Not': [{ Condition: 'Yes' }] },
        Both: { 'Fn::And': [{ Condition: 'Yes' }, { 'Fn::Or': [{ Condition: 'No' }, { Condition: 'Yes' }] }] },
      },
      Resources: { Fn: fn(), Skipped: { Type: 'AWS::Unknown::Thing', Condition: 'No' } },
      Outputs: {
        ref: { Value: { Ref: 'Fn' } },
        parameter: { Value: { Ref: 'Given' } },
        join: { Value: { 'Fn::Join': ['-', ['a', { Ref: 'AWS::Partition' }, 'c']] } },
        sub: { Value: { 'Fn::Sub': '${AWS::Region}/${Fn}/${Fn.Arn}/${!Literal}' } },
        subWithOwn: { Value: { 'Fn::Sub': ['${own}!', { own: { Ref: 'Fn' } }] } },
        select: { Value: { 'Fn::Select': [1, { 'Fn::Split': ['/', 'a/b/c'] }] } },
        yes: { Value: { 'Fn::If': ['Both', 'yes', { Ref: 'AWS::NoValue' }] } },
        map: { Value: { 'Fn::FindInMap': ['Map', { Ref: 'AWS::Region' }, 'key'] } },
        base64: { Value: { 'Fn::Base64': 'text' } },
      },
    });
    expect(outputs).toEqual({
      ref: 'stack-Fn',
      parameter: 'default',
      join: 'a-aws-c',
      sub: 'us-east-1/stack-Fn/arn:aws:lambda:us-east-1:000000000000:function:stack-Fn/${Literal}',
      subWithOwn: 'stack-Fn!',
      select: 'b',
      yes: 'yes',
      map: 'mapped',
      base64: 'dGV4dA==',
    });
  });

  it('leaves a property out whose value is AWS::NoValue', () => {
    const { functions } = plan({
      Resources: { Fn: fn({ ReservedConcurrentExecutions: { Ref: 'AWS::NoValue' } }) },
    });
    expect(functions[0]?.reservedConcurrency).toBeUndefined();
  });

  it('parses a machine from its joined text', () => {
    const { machines } = plan({
      Resources: {
        Fn: fn(),
        Machine: {
          Type: 'AWS::StepFunctions::StateMachine',
          Properties: {
            RoleArn: { 'Fn::GetAtt': ['Role', 'Arn'] },
            DefinitionString: {
              'Fn::Join': ['', ['{"StartAt":"A","States":{"A":{"F":"', { 'Fn::GetAtt': ['Fn', 'Arn'] }, '"}}}']],
            },
          },
        },
      },
    });
    expect(machines).toEqual([
      {
        name: 'stack-Machine',
        arn: 'arn:aws:states:us-east-1:000000000000:stateMachine:stack-Machine',
        definition: {
          StartAt: 'A',
          States: { A: { F: 'arn:aws:lambda:us-east-1:000000000000:function:stack-Fn' } },
        },
      },
    ]);
  });

  it('takes a schedule from a rule and from a scheduler', () => {
    const { schedules } = plan({
      Resources: {
        Fn: fn(),
        Rule: {
          Type: 'AWS::Events::Rule',
          Properties: {
            ScheduleExpression: 'rate(5 minutes)',
            State: 'ENABLED',
            Targets: [{ Id: 'Target0', Arn: { 'Fn::GetAtt': ['Fn', 'Arn'] } }],
          },
        },
        Schedule: {
          Type: 'AWS::Scheduler::Schedule',
          Properties: {
            FlexibleTimeWindow: { Mode: 'OFF' },
            ScheduleExpression: 'rate(1 hour)',
            Target: { Arn: { 'Fn::GetAtt': ['Fn', 'Arn'] }, RoleArn: 'role', Input: '{"a":1}' },
          },
        },
      },
    });
    expect(schedules).toMatchObject([
      { everyMs: 300_000, input: undefined },
      { everyMs: 3_600_000, input: { a: 1 } },
    ]);
  });
});

describe('what is not known is an error that names it', () => {
  const refused = (template: Record<string, unknown>) => {
    try {
      plan(template);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
    return 'taken';
  };

  it.each([
    ['a resource type', { Resources: { Queue: { Type: 'AWS::SQS::Queue' } } }, /AWS::SQS::Queue \(Queue\)/],
    ['a property', { Resources: { Fn: fn({ Layers: ['layer'] }) } }, /property Layers of Fn/],
    ['a function', { Resources: { Fn: fn({ Timeout: { 'Fn::Length': [1] } }) } }, /Fn::Length, in Fn\.Timeout/],
    ['a reference', { Resources: { Fn: fn({ Timeout: { Ref: 'Nothing' } }) } }, /Ref to Nothing in Fn\.Timeout/],
    ['an attribute', { Resources: { Fn: fn({ Handler: { 'Fn::GetAtt': ['Fn', 'Odd'] } }) } }, /Fn\.Odd in Fn\.Handler/],
    ['a section', { Resources: {}, Transform: 'AWS::Serverless' }, /section Transform/],
    ['an asset', { Resources: { Fn: fn({ Code: { S3Bucket: 'b', S3Key: 'gone.zip' } }) } }, /gone\.zip/],
    ['a runtime', { Resources: { Fn: fn({ Runtime: 'python3.13' }) } }, /AWS::Lambda::Function Fn .*Runtime/s],
    [
      'a cron schedule',
      {
        Resources: {
          Rule: { Type: 'AWS::Events::Rule', Properties: { ScheduleExpression: 'cron(0 0 * * ? *)', Targets: [] } },
        },
      },
      /Rule: the local run knows rate/,
    ],
    [
      'an EXPRESS machine',
      {
        Resources: {
          Machine: {
            Type: 'AWS::StepFunctions::StateMachine',
            Properties: { StateMachineType: 'EXPRESS', DefinitionString: '{}' },
          },
        },
      },
      /Machine .*StateMachineType/s,
    ],
  ])('%s', (_, template, message) => {
    expect(refused(template)).toMatch(message);
  });
});

describe('the real template', () => {
  it('gives every route of the contract a function whose bundle is there, and stable names', async () => {
    const dir = await synthesize({ modelsFile: join(ROOT, 'models.json'), settings: {} });
    const real = planFromAssembly(readAssembly(dir));
    expect(real.routes.map(({ method, path }) => `${method} ${path}`).sort()).toEqual(
      ['ANY $default', ...Object.values(routes).map(({ method, path }) => `${method} ${path}`)].sort(),
    );
    expect(DEFAULT_ROUTE_FUNCTION).toBe('noRoute');
    for (const { entryFile } of real.functions) expect(existsSync(entryFile), entryFile).toBe(true);
    expect(real.machines).toHaveLength(3);
    expect(real.schedules).toMatchObject([{ everyMs: 60_000 }, { everyMs: 86_400_000 }]);
    expect(real.tables[0]?.globalIndexes.map(({ IndexName }) => IndexName).sort()).toEqual(['due', 'list']);
    expect(real.outputs.OperatorKeySecretArn).toBe(real.secrets[0]?.arn);
    expect(planFromAssembly(readAssembly(dir))).toEqual(real);
  }, 120_000);
});
