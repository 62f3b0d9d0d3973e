import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  DescribeExecutionCommand,
  type SFNClient,
  StartExecutionCommand,
  StopExecutionCommand,
} from '@aws-sdk/client-sfn';
import { mockClient } from 'aws-sdk-client-mock';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type StepFunctionsServer, startStepFunctions } from '../../local/stepfunctions/server.ts';
import { createWorkflowClient } from '../../shared/adapters/sfn/client.ts';
import { createWorkflow } from '../../shared/adapters/sfn/workflow.ts';
import { batchExecutionName, notificationExecutionName } from '../../shared/domain/ids.ts';
import type { Workflow } from '../../shared/ports.ts';
import { LOCAL_S3 } from '../support/localS3.ts';

const BATCH_MACHINE = 'arn:aws:states:us-east-1:000000000000:stateMachine:batch';
const NOTIFICATION_MACHINE = 'arn:aws:states:us-east-1:000000000000:stateMachine:notification';
const FUNCTION = 'arn:aws:lambda:us-east-1:000000000000:function:step';
const ref = { projectId: 'project-a', batchId: 'batch_01JHZZZZZZZZZZZZZZZZZZZZZZ' };
const batchArn = (attempt: number) =>
  `${BATCH_MACHINE.replace('stateMachine', 'execution')}:${batchExecutionName(ref.batchId, attempt)}`;
const notificationArn = (n: number) =>
  `${NOTIFICATION_MACHINE.replace('stateMachine', 'execution')}:${notificationExecutionName(ref.batchId, n)}`;

describe('the workflow on Step Functions as the local run speaks it', () => {
  const definition = {
    StartAt: 'Step',
    States: {
      Step: {
        Type: 'Task',
        Resource: 'arn:aws:states:::lambda:invoke',
        Parameters: { FunctionName: FUNCTION, 'Payload.$': '$' },
        End: true,
      },
    },
  };
  let dataDir: string;
  let server: StepFunctionsServer;
  let client: SFNClient;
  let workflow: Workflow;
  let payloads: unknown[];
  let release: () => void;
  let step: () => Promise<unknown>;

  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'workflow-'));
    payloads = [];
    const released = Promise.withResolvers<void>();
    release = released.resolve;
    step = () => released.promise;
    const { region, credentials } = LOCAL_S3;
    server = await startStepFunctions({
      dataDir,
      region,
      s3: { endpoint: 'http://127.0.0.1:9', credentials },
      machines: [
        { arn: BATCH_MACHINE, name: 'batch', definition },
        { arn: NOTIFICATION_MACHINE, name: 'notification', definition },
      ],
      invokeFunction: async (_, payload) => {
        payloads.push(payload);
        return { payload: await step() };
      },
    });
    client = createWorkflowClient({ endpoint: server.url, region, credentials });
    workflow = createWorkflow({
      client,
      batchMachineArn: BATCH_MACHINE,
      notificationMachineArn: NOTIFICATION_MACHINE,
      snapshotMachineArn: NOTIFICATION_MACHINE,
    });
  });
  afterEach(async () => {
    client.destroy();
    await server.close();
    await rm(dataDir, { recursive: true, force: true });
  });

  test('starting a batch hands its machine the project, the batch and the attempt', async () => {
    expect(await workflow.startBatch(ref, 3)).toBe('started');
    expect(await workflow.describeBatch(ref.batchId, 3)).toBe('running');
    release();
    await server.settled(batchArn(3));
    expect(payloads).toEqual([{ version: 1, ...ref, attempt: 3 }]);
    expect(await workflow.describeBatch(ref.batchId, 3)).toBe('succeeded');
  });

  test('starting what runs starts nothing more', async () => {
    await workflow.startBatch(ref, 1);
    expect(await workflow.startBatch(ref, 1)).toBe('started');
    release();
    await server.settled(batchArn(1));
    expect(payloads).toHaveLength(1);
  });

  test('starting what has ended answers already', async () => {
    release();
    await workflow.startBatch(ref, 1);
    await server.settled(batchArn(1));
    expect(await workflow.startBatch(ref, 1)).toBe('already');
    // Names are each project's batch and number, whoever starts it.
    expect(await workflow.startBatch({ ...ref, projectId: 'another' }, 1)).toBe('already');
    expect(await workflow.startBatch(ref, 2)).toBe('started');
  });

  test('starting a running name with another input answers already', async () => {
    await workflow.startBatch(ref, 1);
    expect(await workflow.startBatch({ ...ref, projectId: 'another' }, 1)).toBe('already');
  });

  test('a notification has a machine and names of its own', async () => {
    expect(await workflow.startNotification(ref, 1)).toBe('started');
    expect(await workflow.describeNotification(ref.batchId, 1)).toBe('running');
    expect(await workflow.describeBatch(ref.batchId, 1)).toBe('not_found');
    release();
    await server.settled(notificationArn(1));
    expect(payloads).toEqual([{ version: 1, ...ref, notification: 1 }]);
    expect(await workflow.startNotification(ref, 1)).toBe('already');
  });

  test('a stopped batch is aborted; stopping it again, or one that never was, changes nothing', async () => {
    await workflow.startBatch(ref, 1);
    await workflow.stopBatch(ref.batchId, 1, 'x'.repeat(40_000));
    expect(await workflow.describeBatch(ref.batchId, 1)).toBe('aborted');
    await workflow.stopBatch(ref.batchId, 1, 'again');
    await workflow.stopBatch(ref.batchId, 9, 'never was');
    expect(await workflow.describeBatch(ref.batchId, 9)).toBe('not_found');
  });

  test('a batch whose step failed has failed', async () => {
    step = () => Promise.reject(new Error('no'));
    await workflow.startBatch(ref, 1);
    await server.settled(batchArn(1));
    expect(await workflow.describeBatch(ref.batchId, 1)).toBe('failed');
  });

  test('what is not expected is thrown', async () => {
    const lost = createWorkflow({
      client,
      batchMachineArn: `${BATCH_MACHINE}-gone`,
      notificationMachineArn: NOTIFICATION_MACHINE,
      snapshotMachineArn: NOTIFICATION_MACHINE,
    });
    await expect(lost.startBatch(ref, 1)).rejects.toMatchObject({ name: 'StateMachineDoesNotExist' });
  });
});

describe('the calls that the workflow makes', () => {
  const client = createWorkflowClient({ region: 'us-east-1' });
  const mock = mockClient(client);
  const workflow = createWorkflow({
    client,
    batchMachineArn: BATCH_MACHINE.replace('arn:aws:', 'arn:aws-cn:'),
    notificationMachineArn: NOTIFICATION_MACHINE,
    snapshotMachineArn: NOTIFICATION_MACHINE,
  });
  beforeEach(() => mock.reset());

  test('name the execution by the machine, in its partition', async () => {
    mock.on(StartExecutionCommand).resolves({});
    mock.on(DescribeExecutionCommand).resolves({ status: 'TIMED_OUT' });
    mock.on(StopExecutionCommand).resolves({});
    await workflow.startBatch(ref, 2);
    expect(await workflow.describeBatch(ref.batchId, 2)).toBe('timed_out');
    await workflow.stopBatch(ref.batchId, 2, 'cancelled');
    const executionArn = `arn:aws-cn:states:us-east-1:000000000000:execution:batch:${ref.batchId}-2`;
    expect(mock.calls().map(({ args }) => args[0].input)).toEqual([
      {
        stateMachineArn: 'arn:aws-cn:states:us-east-1:000000000000:stateMachine:batch',
        name: `${ref.batchId}-2`,
        input: JSON.stringify({ version: 1, ...ref, attempt: 2 }),
      },
      { executionArn },
      { executionArn, cause: 'cancelled' },
    ]);
  });

  test('tell a failure by a version that the code does not know from any other', async () => {
    mock.on(DescribeExecutionCommand).resolves({ status: 'FAILED', error: 'StepVersionUnknown' });
    expect(await workflow.describeBatch(ref.batchId, 1)).toBe('outdated');
    mock.on(DescribeExecutionCommand).resolves({ status: 'FAILED', error: 'StepDied' });
    expect(await workflow.describeBatch(ref.batchId, 1)).toBe('failed');
  });

  test('count a redrive that waits for its turn as running', async () => {
    mock.on(DescribeExecutionCommand).resolves({ status: 'PENDING_REDRIVE' });
    expect(await workflow.describeNotification(ref.batchId, 1)).toBe('running');
  });
});
