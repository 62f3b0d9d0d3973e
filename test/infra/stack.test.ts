import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import validateAsl from 'asl-validator';
import { beforeAll, describe, expect, test } from 'vitest';
import { functions } from '../../shared/contract/functions.ts';
import { routes } from '../../shared/contract/routes.ts';
import { FINAL_ERRORS } from '../../shared/contract/steps.ts';
import { machineText, ofType, type Resource, synthesize, type Template } from './synth.ts';

let template: Template;
let outdir: string;

beforeAll(() => {
  ({ template, outdir } = synthesize('prod'));
});

const properties = (type: string) => ofType(template, type).map(([, resource]) => resource.Properties);
const find = (type: string, idPart: string): Resource => {
  const found = ofType(template, type).find(([id]) => id.includes(idPart));
  if (!found) throw new Error(`No ${type} with ${idPart} in its id`);
  return found[1];
};

type Statement = { Action: string | string[]; Resource: unknown; Effect: string; Condition?: unknown };

describe('the API', () => {
  test('has a route for each row of the table, and $default', () => {
    const keys = properties('AWS::ApiGatewayV2::Route').map(({ RouteKey }) => RouteKey);
    const wanted = Object.values(routes).map(({ method, path }) => `${method} ${path}`);
    expect(keys.toSorted()).toEqual([...wanted, '$default'].toSorted());
  });

  test('logs requests without query strings or headers', () => {
    const stage = find('AWS::ApiGatewayV2::Stage', 'Http').Properties;
    const { Format } = stage.AccessLogSettings as { Format: string };
    expect(Object.keys(JSON.parse(Format))).toEqual([
      'requestId',
      'functionRequestId',
      'routeKey',
      'status',
      'latencyMs',
      'error',
    ]);
  });
});

describe('functions', () => {
  test('are those of the table, on Node 24 and arm64, with its time, memory and variables', () => {
    const made = properties('AWS::Lambda::Function');
    expect(made.map(({ Description }) => Description).toSorted()).toEqual(
      Object.keys(functions)
        .map((name) => `functions/${name}.ts`)
        .toSorted(),
    );
    for (const one of made) {
      expect(one.Runtime).toBe('nodejs24.x');
      expect(one.Architectures).toEqual(['arm64']);
      const name = String(one.Description).replace(/^functions\/|\.ts$/g, '') as keyof typeof functions;
      const { timeoutSeconds, memoryMb, variables } = functions[name];
      expect(one).toMatchObject({ Timeout: timeoutSeconds, MemorySize: memoryMb });
      const { Variables } = one.Environment as { Variables: Record<string, unknown> };
      expect(Object.keys(Variables).toSorted()).toEqual([...variables].toSorted());
    }
  });

  test('are bundled whole, as one ES module each, those that name models with models.json', () => {
    for (const [, resource] of ofType(template, 'AWS::Lambda::Function')) {
      const { S3Key } = resource.Properties.Code as { S3Key: string };
      const folder = join(outdir, `asset.${S3Key.replace('.zip', '')}`);
      const code = readFileSync(join(folder, 'index.mjs'), 'utf8');
      expect(code).toMatch(/export\s*\{[^}]*\bhandler\b/);
      expect(code).not.toMatch(/from\s*["']@(aws-sdk|middy)\//);
      const name = String(resource.Properties.Description).replace(/^functions\/|\.ts$/g, '') as keyof typeof functions;
      expect(existsSync(join(folder, 'models.json'))).toBe('models' in functions[name]);
    }
  });

  test('have a role and a log group with retention of their own', () => {
    const count = Object.keys(functions).length;
    const roles = new Set(properties('AWS::Lambda::Function').map(({ Role }) => JSON.stringify(Role)));
    const groups = new Set(
      properties('AWS::Lambda::Function').map(({ LoggingConfig }) => JSON.stringify(LoggingConfig)),
    );
    expect([roles.size, groups.size]).toEqual([count, count]);
    for (const { RetentionInDays } of properties('AWS::Logs::LogGroup')) expect(RetentionInDays).toBe(30);
    for (const { ManagedPolicyArns } of properties('AWS::IAM::Role')) expect(ManagedPolicyArns).toBeUndefined();
  });
});

describe('storage', () => {
  test('the table is on demand, kept, with point-in-time recovery and both indexes', () => {
    const table = find('AWS::DynamoDB::Table', 'Records');
    expect(table.DeletionPolicy).toBe('Retain');
    expect(table.Properties).toMatchObject({
      BillingMode: 'PAY_PER_REQUEST',
      PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
      TimeToLiveSpecification: { AttributeName: 'ttl', Enabled: true },
      GlobalSecondaryIndexes: [
        { IndexName: 'due', Projection: { ProjectionType: 'KEYS_ONLY' } },
        { IndexName: 'list', Projection: { ProjectionType: 'INCLUDE', NonKeyAttributes: ['status'] } },
      ],
    });
  });

  test('the bucket is private, encrypted, TLS only, kept', () => {
    const bucket = find('AWS::S3::Bucket', 'Files');
    expect(bucket.DeletionPolicy).toBe('Retain');
    expect(bucket.Properties).toMatchObject({
      PublicAccessBlockConfiguration: {
        BlockPublicAcls: true,
        BlockPublicPolicy: true,
        IgnorePublicAcls: true,
        RestrictPublicBuckets: true,
      },
      BucketEncryption: {
        ServerSideEncryptionConfiguration: [{ ServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }],
      },
    });
    const { PolicyDocument } = find('AWS::S3::BucketPolicy', 'Files').Properties as {
      PolicyDocument: { Statement: Statement[] };
    };
    expect(PolicyDocument.Statement).toContainEqual(
      expect.objectContaining({
        Effect: 'Deny',
        Action: 's3:*',
        Condition: { Bool: { 'aws:SecureTransport': 'false' } },
      }),
    );
  });

  test('the bucket is cleaned by key prefix', () => {
    const { LifecycleConfiguration } = find('AWS::S3::Bucket', 'Files').Properties as {
      LifecycleConfiguration: { Rules: { Prefix?: string; ExpirationInDays?: number }[] };
    };
    const days = Object.fromEntries(
      LifecycleConfiguration.Rules.flatMap(({ Prefix, ExpirationInDays }) =>
        Prefix ? [[Prefix, ExpirationInDays]] : [],
      ),
    );
    expect(days).toEqual({
      'uploads/': 53,
      'inputs/': 46,
      'outputs/': 39,
      'parts/': 14,
      'shards/': 14,
      'snapshots/': 1,
    });
    expect(LifecycleConfiguration.Rules).toContainEqual(
      expect.objectContaining({ AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 } }),
    );
  });

  test("the operator's key is generated, and outputs say how to read and how to rotate it", () => {
    expect(find('AWS::SecretsManager::Secret', 'OperatorKey').Properties.GenerateSecretString).toMatchObject({
      PasswordLength: 64,
      ExcludePunctuation: true,
    });
    expect(JSON.stringify(template.Outputs.ReadOperatorKeyCommand)).toContain('aws secretsmanager get-secret-value');
    // The new key comes through a pipe: neither arguments nor the shell's history hold it.
    expect(JSON.stringify(template.Outputs.RotateOperatorKeyCommand)).toMatch(
      /openssl rand -hex 32 \| aws secretsmanager put-secret-value .*--secret-string file:\/\/\/dev\/stdin/,
    );
  });
});

describe('the machines', () => {
  type State = Record<string, unknown> & { Type: string; Retry?: { ErrorEquals: string[]; MaxAttempts: number }[] };
  const definition = (idPart: string) =>
    JSON.parse(machineText(find('AWS::StepFunctions::StateMachine', idPart))) as { States: Record<string, State> };

  test.each(['BatchMachine', 'NotificationMachine', 'SnapshotMachine'])('%s is valid ASL', (id) => {
    expect(validateAsl(definition(id))).toMatchObject({ isValid: true, errors: [] });
  });

  test('maps over shards.jsonl in S3 by STANDARD children and tolerates all their failures', () => {
    expect(definition('BatchMachine').States.Process).toMatchObject({
      Type: 'Map',
      ItemReader: {
        Resource: 'arn:aws:states:::s3:getObject',
        ReaderConfig: { InputType: 'JSONL' },
        Parameters: { 'Key.$': '$.key' },
      },
      ItemSelector: { 'shard.$': '$$.Map.Item.Value', 'batchId.$': '$.batchId', 'attempt.$': '$.attempt', turn: 0 },
      ItemProcessor: { ProcessorConfig: { Mode: 'DISTRIBUTED', ExecutionType: 'STANDARD' } },
      MaxConcurrencyPath: '$.maxConcurrency',
      ToleratedFailurePercentage: 100,
      ResultWriter: { Resource: 'arn:aws:states:::s3:putObject' },
      ResultPath: null,
    });
  });

  test('retries inside the child, never the map itself', () => {
    const { States: outer } = definition('BatchMachine');
    expect(outer.Process).toBeDefined();
    expect(outer.Process?.Retry).toBeUndefined();
    const processor = outer.Process?.ItemProcessor as { States: Record<string, State> };
    const { States } = processor;
    expect(States.RunShard?.Retry?.flatMap(({ ErrorEquals }) => ErrorEquals)).toEqual(
      expect.arrayContaining(['Lambda.TooManyRequestsException', 'States.TaskFailed', 'States.Timeout']),
    );
  });

  test('every step of the batch machine that fails for good goes to Fail', () => {
    const { States } = definition('BatchMachine');
    for (const name of ['Fetch', 'Validate', 'Plan', 'Process', 'Finalize'])
      expect(States[name]?.Catch, name).toEqual([{ ErrorEquals: ['States.ALL'], ResultPath: '$.error', Next: 'Fail' }]);
  });

  test.each(['BatchMachine', 'NotificationMachine', 'SnapshotMachine'])(
    '%s logs failures, without inputs and outputs',
    (id) => {
      const { LoggingConfiguration } = find('AWS::StepFunctions::StateMachine', id).Properties;
      expect(LoggingConfiguration).toMatchObject({ Level: 'ERROR', IncludeExecutionData: false });
    },
  );

  test('every task waits a little longer than its function may run', () => {
    const tasks = JSON.stringify(definition('BatchMachine')).match(/"TimeoutSeconds":930/g);
    expect(tasks).toHaveLength(4);
  });
});

test('errors that a step is not retried for are names that the code throws', () => {
  const sources = readdirSync(join(import.meta.dirname, '../../shared'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => readFileSync(join(import.meta.dirname, '../../shared', path), 'utf8'))
    .join('\n');
  for (const name of FINAL_ERRORS) expect(sources).toContain(`readonly name = '${name}'`);
});

test('the check runs each minute, the sweep each day', () => {
  expect(properties('AWS::Events::Rule')).toMatchObject([
    { ScheduleExpression: 'rate(1 minute)', State: 'ENABLED' },
    { ScheduleExpression: 'rate(1 day)', State: 'ENABLED' },
  ]);
});
