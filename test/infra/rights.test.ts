import { beforeAll, describe, expect, test } from 'vitest';
import { writeModels } from '../support/modelServer.ts';
import { rightsOf, spelledOut } from '../support/rights.ts';
import { ofType, synthesize, type Template } from './synth.ts';

/**
 * What every role of the stack may do, written by hand: whoever widens one has to write it down here, and a reviewer
 * sees it. A function's role has the function's name; resources are named by what they are here. `table BATCH#*` are the
 * records whose partition key begins so (`RECORD_KINDS` of shared/contract/table.ts says what they are).
 */
const OWN_LOG = 'logs:CreateLogStream, logs:PutLogEvents on its own log';
const LOG_DELIVERY =
  'logs:CreateLogDelivery, logs:DeleteLogDelivery, logs:DescribeLogGroups, logs:DescribeResourcePolicies, logs:GetLogDelivery, logs:ListLogDeliveries, logs:PutResourcePolicy, logs:UpdateLogDelivery on *';

const RIGHTS: Record<string, string[]> = {
  BatchMachineRole: [
    'lambda:InvokeFunction on FunctionsWorkflowFailBatch',
    'lambda:InvokeFunction on FunctionsWorkflowFetchInput',
    'lambda:InvokeFunction on FunctionsWorkflowFinalizeBatch',
    'lambda:InvokeFunction on FunctionsWorkflowPlanShards',
    'lambda:InvokeFunction on FunctionsWorkflowRunShard',
    'lambda:InvokeFunction on FunctionsWorkflowValidateInput',
    LOG_DELIVERY,
    's3:AbortMultipartUpload, s3:GetObject, s3:ListMultipartUploadParts, s3:PutObject on bucket/shards/*',
    'states:DescribeExecution, states:StopExecution on executions of BatchMachine:*',
    'states:RedriveExecution on executions of BatchMachine/Process:*',
    'states:StartExecution on BatchMachine',
  ],
  NotificationMachineRole: ['lambda:InvokeFunction on FunctionsWorkflowNotifyReceiver', LOG_DELIVERY],
  SnapshotMachineRole: ['lambda:InvokeFunction on FunctionsWorkflowSnapshotBatch', LOG_DELIVERY],
  'http/cancelBatch': [
    'dynamodb:GetItem on table APIKEY#*',
    'dynamodb:GetItem, dynamodb:UpdateItem on table BATCH#*',
    'dynamodb:GetItem, dynamodb:UpdateItem on table PROJECT#*',
    'dynamodb:UpdateItem on table QUOTA#*',
    OWN_LOG,
    'states:DescribeExecution, states:StopExecution on executions of BatchMachine:*',
    'states:StartExecution on BatchMachine',
  ],
  'http/checkBatches': [
    'dynamodb:GetItem, dynamodb:Query, dynamodb:UpdateItem on table BATCH#*',
    'dynamodb:GetItem, dynamodb:UpdateItem on table PROJECT#*',
    'dynamodb:Query on table/index/due',
    OWN_LOG,
    'secretsmanager:GetSecretValue on SecretsOperatorKey',
    'states:DescribeExecution on executions of NotificationMachine:*',
    'states:DescribeExecution, states:StopExecution on executions of BatchMachine:*',
    'states:StartExecution on BatchMachine',
    'states:StartExecution on NotificationMachine',
  ],
  'http/createBatch': [
    'dynamodb:GetItem on table APIKEY#*',
    'dynamodb:GetItem on table UPLOAD#*',
    'dynamodb:GetItem, dynamodb:PutItem on table BATCH#*',
    'dynamodb:GetItem, dynamodb:PutItem on table IDEMPOTENCY#*',
    'dynamodb:BatchGetItem, dynamodb:GetItem, dynamodb:PutItem on table PROJECT#*',
    'dynamodb:GetItem, dynamodb:UpdateItem on table QUOTA#*',
    OWN_LOG,
    'states:StartExecution on BatchMachine',
  ],
  'http/createKey': [
    'dynamodb:GetItem, dynamodb:PutItem on table APIKEY#*',
    'dynamodb:GetItem, dynamodb:PutItem on table APIKEYS',
    OWN_LOG,
    'secretsmanager:GetSecretValue on SecretsOperatorKey',
  ],
  'http/createUpload': [
    'dynamodb:GetItem on table APIKEY#*',
    'dynamodb:PutItem on table UPLOAD#*',
    'dynamodb:UpdateItem on table QUOTA#*',
    OWN_LOG,
    's3:PutObject on bucket/uploads/*',
  ],
  'http/downloadBatch': [
    'dynamodb:GetItem on table APIKEY#*',
    'dynamodb:GetItem on table PROJECT#*',
    'dynamodb:GetItem, dynamodb:UpdateItem on table BATCH#*',
    'dynamodb:UpdateItem on table QUOTA#*',
    OWN_LOG,
    's3:GetObject on bucket/outputs/*',
    's3:GetObject on bucket/snapshots/*',
    'states:DescribeExecution on executions of SnapshotMachine:*',
    'states:StartExecution on SnapshotMachine',
  ],
  'http/getBatch': [
    'dynamodb:GetItem on table APIKEY#*',
    'dynamodb:GetItem on table BATCH#*',
    'dynamodb:GetItem on table PROJECT#*',
    'dynamodb:UpdateItem on table QUOTA#*',
    OWN_LOG,
  ],
  'http/getHealth': [OWN_LOG],
  'http/getOpenApi': [OWN_LOG],
  'http/getReceipt': [
    'dynamodb:GetItem on table APIKEY#*',
    'dynamodb:GetItem on table BATCH#*',
    'dynamodb:GetItem on table PROJECT#*',
    'dynamodb:UpdateItem on table QUOTA#*',
    OWN_LOG,
  ],
  'http/getWebhookSecret': [
    'dynamodb:GetItem on table APIKEY#*',
    'dynamodb:GetItem, dynamodb:PutItem on table WEBHOOK#*',
    'dynamodb:UpdateItem on table QUOTA#*',
    OWN_LOG,
  ],
  'http/listBatches': [
    'dynamodb:BatchGetItem on table BATCH#*',
    'dynamodb:BatchGetItem, dynamodb:Query on table PROJECT#*',
    'dynamodb:GetItem on table APIKEY#*',
    'dynamodb:Query on table/index/list',
    'dynamodb:UpdateItem on table QUOTA#*',
    OWN_LOG,
  ],
  'http/listKeys': [
    'dynamodb:BatchGetItem on table APIKEY#*',
    'dynamodb:Query on table APIKEYS',
    OWN_LOG,
    'secretsmanager:GetSecretValue on SecretsOperatorKey',
  ],
  'http/noRoute': [OWN_LOG],
  'http/retryBatch': [
    'dynamodb:GetItem on table APIKEY#*',
    'dynamodb:GetItem, dynamodb:PutItem on table BATCH#*',
    'dynamodb:GetItem, dynamodb:PutItem on table IDEMPOTENCY#*',
    'dynamodb:BatchGetItem, dynamodb:GetItem, dynamodb:PutItem on table PROJECT#*',
    'dynamodb:GetItem, dynamodb:UpdateItem on table QUOTA#*',
    OWN_LOG,
    's3:GetObject on bucket/inputs/*',
    's3:GetObject on bucket/uploads/*',
    's3:ListBucket on bucket',
    'states:StartExecution on BatchMachine',
  ],
  'http/revokeKey': [
    'dynamodb:GetItem on table APIKEYS',
    'dynamodb:GetItem, dynamodb:UpdateItem on table APIKEY#*',
    OWN_LOG,
    'secretsmanager:GetSecretValue on SecretsOperatorKey',
  ],
  'http/rotateWebhookSecret': [
    'dynamodb:GetItem on table APIKEY#*',
    'dynamodb:GetItem, dynamodb:PutItem, dynamodb:UpdateItem on table WEBHOOK#*',
    'dynamodb:UpdateItem on table QUOTA#*',
    OWN_LOG,
  ],
  'schedule/checkBatches': [
    'dynamodb:GetItem, dynamodb:Query, dynamodb:UpdateItem on table BATCH#*',
    'dynamodb:GetItem, dynamodb:UpdateItem on table PROJECT#*',
    'dynamodb:Query on table/index/due',
    OWN_LOG,
    'states:DescribeExecution on executions of NotificationMachine:*',
    'states:DescribeExecution, states:StopExecution on executions of BatchMachine:*',
    'states:StartExecution on BatchMachine',
    'states:StartExecution on NotificationMachine',
  ],
  'schedule/sweepBatches': [
    'dynamodb:BatchGetItem, dynamodb:UpdateItem on table PROJECT#*',
    'dynamodb:Scan on table/index/list',
    OWN_LOG,
  ],
  'workflow/failBatch': [
    'dynamodb:GetItem, dynamodb:Query, dynamodb:UpdateItem on table BATCH#*',
    'dynamodb:GetItem, dynamodb:UpdateItem on table PROJECT#*',
    OWN_LOG,
  ],
  'workflow/fetchInput': [
    'dynamodb:GetItem on table UPLOAD#*',
    'dynamodb:GetItem, dynamodb:UpdateItem on table BATCH#*',
    'dynamodb:GetItem, dynamodb:UpdateItem on table PROJECT#*',
    OWN_LOG,
    's3:AbortMultipartUpload, s3:DeleteObject, s3:GetObject, s3:ListMultipartUploadParts, s3:PutObject on bucket/inputs/*',
    's3:AbortMultipartUpload, s3:GetObject, s3:ListMultipartUploadParts, s3:PutObject on bucket/parts/*',
    's3:GetObject on bucket/uploads/*',
    's3:ListBucket on bucket',
  ],
  'workflow/finalizeBatch': [
    'dynamodb:GetItem, dynamodb:Query, dynamodb:UpdateItem on table BATCH#*',
    'dynamodb:GetItem, dynamodb:UpdateItem on table PROJECT#*',
    OWN_LOG,
    's3:AbortMultipartUpload, s3:DeleteObject, s3:GetObject, s3:ListMultipartUploadParts, s3:PutObject on bucket/outputs/*',
    's3:AbortMultipartUpload, s3:DeleteObject, s3:GetObject, s3:ListMultipartUploadParts, s3:PutObject on bucket/parts/*',
    's3:GetObject on bucket/inputs/*',
    's3:GetObject on bucket/shards/*',
    's3:GetObject on bucket/uploads/*',
    's3:ListBucket on bucket',
    'states:StartExecution on NotificationMachine',
  ],
  'workflow/notifyReceiver': [
    'dynamodb:GetItem, dynamodb:PutItem on table WEBHOOK#*',
    'dynamodb:GetItem, dynamodb:UpdateItem on table PROJECT#*',
    OWN_LOG,
  ],
  'workflow/planShards': [
    'dynamodb:GetItem, dynamodb:Query on table BATCH#*',
    'dynamodb:GetItem, dynamodb:UpdateItem on table PROJECT#*',
    OWN_LOG,
    's3:AbortMultipartUpload, s3:GetObject, s3:ListMultipartUploadParts, s3:PutObject on bucket/shards/*',
    's3:GetObject on bucket/inputs/*',
    's3:GetObject on bucket/uploads/*',
    's3:ListBucket on bucket',
  ],
  'workflow/runShard': [
    'dynamodb:GetItem, dynamodb:UpdateItem on table BATCH#*',
    'dynamodb:GetItem, dynamodb:UpdateItem on table MODEL#*',
    'dynamodb:GetItem, dynamodb:UpdateItem on table PROJECT#*',
    'dynamodb:GetItem, dynamodb:UpdateItem on table SHARES#*',
    OWN_LOG,
    's3:DeleteObject, s3:PutObject on bucket/parts/*',
    's3:GetObject on bucket/inputs/*',
    's3:GetObject on bucket/uploads/*',
    's3:ListBucket on bucket',
  ],
  'workflow/snapshotBatch': [
    'dynamodb:GetItem on table PROJECT#*',
    'dynamodb:GetItem, dynamodb:UpdateItem on table BATCH#*',
    OWN_LOG,
    's3:AbortMultipartUpload, s3:DeleteObject, s3:GetObject, s3:ListMultipartUploadParts, s3:PutObject on bucket/snapshots/*',
    's3:GetObject on bucket/outputs/*',
    's3:GetObject on bucket/parts/*',
    's3:GetObject on bucket/shards/*',
    's3:ListBucket on bucket',
  ],
  'workflow/validateInput': [
    'dynamodb:GetItem, dynamodb:UpdateItem on table BATCH#*',
    'dynamodb:GetItem, dynamodb:UpdateItem on table PROJECT#*',
    OWN_LOG,
    's3:AbortMultipartUpload, s3:GetObject, s3:ListMultipartUploadParts, s3:PutObject on bucket/parts/*',
    's3:AbortMultipartUpload, s3:GetObject, s3:ListMultipartUploadParts, s3:PutObject on bucket/shards/*',
    's3:GetObject on bucket/inputs/*',
    's3:GetObject on bucket/outputs/*',
    's3:GetObject on bucket/uploads/*',
    's3:ListBucket on bucket',
  ],
};

/** Why a resource is named by a pattern and not by its name. */
const WILDCARDS: [RegExp, string][] = [
  [
    /^table [A-Z]+#\*$/,
    'One function works for all projects: the record is found by its key, and the key holds the project.',
  ],
  [
    /^bucket\/[a-z]+\/\*$/,
    'Files of one kind, of whichever project and batch; the key is on a record that names both.',
  ],
  [/^executions of \w+(\/Process)?:\*$/, 'Executions of one machine: each has a name of its own.'],
  [/^\*$/, 'How Step Functions sets up the delivery of its logs: these actions know no resources.'],
];

const MODELS_WITH_KEY = writeModels({
  providers: { paid: { kind: 'openai', base_url: 'https://models.example.com/v1', api_key: true } },
  models: { default: { provider: 'paid', model: 'm', endpoints: ['chat/completions'] } },
  agents: { '*': { model: 'default' } },
});

let template: Template;
let rights: ReturnType<typeof rightsOf>;
beforeAll(() => {
  template = synthesize('prod').template;
  rights = rightsOf(template.Resources);
});

test('every role has its row in the table, and no row is without its role', () => {
  expect([...rights.keys()].toSorted()).toEqual(Object.keys(RIGHTS).toSorted());
});

test.each(Object.entries(RIGHTS))('%s may do what the table says, no more and no less', (role, written) => {
  expect(spelledOut(rights.get(role) ?? [])).toEqual(written.toSorted());
});

describe('no right', () => {
  const all = () => [...rights.values()].flat();

  test('is for every action of a service', () => {
    for (const { action } of all()) expect(action).toMatch(/^\w+:\w+$/);
  });

  test('is for a pattern of resources without a reason', () => {
    for (const { resource } of all())
      if (resource.includes('*'))
        expect(
          WILDCARDS.some(([pattern]) => pattern.test(resource)),
          resource,
        ).toBe(true);
    // On everything there is: the machines' log delivery alone.
    const roles = [...rights].filter(([, own]) => own.some(({ resource }) => resource === '*')).map(([role]) => role);
    expect(roles.toSorted()).toEqual(['BatchMachineRole', 'NotificationMachineRole', 'SnapshotMachineRole']);
  });

  test('deletes a record, or reads the table without naming a kind of record', () => {
    const dynamodb = all().filter(({ action }) => action.startsWith('dynamodb:'));
    for (const { resource } of dynamodb) expect(resource).toMatch(/^table(\/index\/(due|list)| [A-Z]+#\*| APIKEYS)$/);
    for (const { action } of dynamodb) expect(action).not.toMatch(/Delete|BatchWrite/);
  });
});

describe('keys and secrets', () => {
  const rolesThat = (matches: (right: { action: string; resource: string }) => boolean) =>
    [...rights].filter(([, own]) => own.some(matches)).map(([role]) => role);

  test('the records of API keys are read by what lets callers in, and by the operator’s routes, no step among them', () => {
    for (const role of rolesThat(({ resource }) => /^table APIKEY/.test(resource))) expect(role).toMatch(/^http\//);
    expect(rolesThat(({ action, resource }) => /^table APIKEY/.test(resource) && !/Get|Query/.test(action))).toEqual([
      'http/createKey',
      'http/revokeKey',
    ]);
  });

  test('webhook secrets are reached by the notifier and the two routes for them', () => {
    expect(rolesThat(({ resource }) => resource.startsWith('table WEBHOOK')).toSorted()).toEqual([
      'http/getWebhookSecret',
      'http/rotateWebhookSecret',
      'workflow/notifyReceiver',
    ]);
  });

  test('the notifier reaches the batch’s record and the webhook secret, and no file', () => {
    const reached = new Set(rights.get('workflow/notifyReceiver')?.map(({ resource }) => resource));
    expect(reached).toEqual(new Set(['its own log', 'table PROJECT#*', 'table WEBHOOK#*']));
  });

  test('a model’s key is read by workers alone', () => {
    // models.json as shipped has no provider that wants one.
    const own = rightsOf(
      synthesize('prod', { models: MODELS_WITH_KEY, settings: { inputBuckets: ['theirs'] } }).template.Resources,
    );
    const roles = [...own].filter(([, all]) => all.some(({ resource }) => resource.startsWith('SecretsModelKey')));
    expect(roles.map(([role]) => role)).toEqual(['workflow/runShard']);
    const foreign = [...own].filter(([, all]) => all.some(({ resource }) => resource.startsWith('foreign bucket')));
    expect(foreign.map(([role]) => role)).toEqual(['workflow/fetchInput']);
  });
});

describe('who may use them', () => {
  test('a role is assumed by the service that it is for', () => {
    for (const [id, { Properties }] of ofType(template, 'AWS::IAM::Role')) {
      const service = id.includes('Machine') ? 'states.amazonaws.com' : 'lambda.amazonaws.com';
      expect(Properties.AssumeRolePolicyDocument, id).toMatchObject({
        Statement: [{ Action: 'sts:AssumeRole', Effect: 'Allow', Principal: { Service: service } }],
      });
      expect(Properties.ManagedPolicyArns, id).toBeUndefined();
      expect(Properties.Policies, id).toBeUndefined();
    }
  });

  test('a function is invoked by the API and the schedule of this stack, beside the machines', () => {
    for (const [id, { Properties }] of ofType(template, 'AWS::Lambda::Permission')) {
      expect(Properties.Action, id).toBe('lambda:InvokeFunction');
      expect(Properties.Principal, id).toMatch(/^(apigateway|events)\.amazonaws\.com$/);
      expect(JSON.stringify(Properties.SourceArn), id).toMatch(/HttpApi|CheckRule|CheckSweepRule/);
    }
  });
});
