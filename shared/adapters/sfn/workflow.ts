import {
  DescribeExecutionCommand,
  ExecutionAlreadyExists,
  ExecutionDoesNotExist,
  type SFNClient,
  type ExecutionStatus as SfnStatus,
  StartExecutionCommand,
  StopExecutionCommand,
} from '@aws-sdk/client-sfn';
import { type Run, STEP_VERSION, type StepInput } from '../../contract/steps.ts';
import { STEP_VERSION_UNKNOWN } from '../../contract/stepVersions.ts';
import type { BatchRef } from '../../domain/batch.ts';
import { batchExecutionName, notificationExecutionName, snapshotExecutionName } from '../../domain/ids.ts';
import type { ExecutionStatus, Workflow } from '../../ports.ts';

/** Both in characters: https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html */
const MAX_CAUSE_CHARACTERS = 32_768;

const STATUSES = {
  RUNNING: 'running',
  // A redrive that waits for its turn runs on.
  PENDING_REDRIVE: 'running',
  SUCCEEDED: 'succeeded',
  FAILED: 'failed',
  TIMED_OUT: 'timed_out',
  ABORTED: 'aborted',
} as const satisfies Record<SfnStatus, ExecutionStatus>;

/**
 * The machines in Step Functions. A start is safe to repeat: the name is the batch's and the number's own, and the
 * same name with the same input answers the execution that runs, so `started` also means "was running already";
 * `already` is what an ended name answers.
 */
export function createWorkflow(options: {
  client: SFNClient;
  batchMachineArn: string;
  notificationMachineArn: string;
  snapshotMachineArn: string;
}): Workflow {
  const { client, batchMachineArn, notificationMachineArn, snapshotMachineArn } = options;

  async function start(machineArn: string, name: string, input: Run | StepInput<'notifyReceiver' | 'snapshotBatch'>) {
    const command = new StartExecutionCommand({ stateMachineArn: machineArn, name, input: JSON.stringify(input) });
    try {
      await client.send(command);
      return 'started';
    } catch (error) {
      if (error instanceof ExecutionAlreadyExists) return 'already';
      throw error;
    }
  }

  async function describe(machineArn: string, name: string): Promise<ExecutionStatus> {
    try {
      const { status, error } = await client.send(
        new DescribeExecutionCommand({ executionArn: executionArn(machineArn, name) }),
      );
      if (status === undefined) throw new Error(`Step Functions answered no status for the execution ${name}.`);
      return status === 'FAILED' && error === STEP_VERSION_UNKNOWN ? 'outdated' : STATUSES[status];
    } catch (error) {
      if (error instanceof ExecutionDoesNotExist) return 'not_found';
      throw error;
    }
  }

  return {
    startBatch({ projectId, batchId }: BatchRef, attempt) {
      const input: Run = { version: STEP_VERSION, projectId, batchId, attempt };
      return start(batchMachineArn, batchExecutionName(batchId, attempt), input);
    },
    startNotification({ projectId, batchId }, notification) {
      const input: StepInput<'notifyReceiver'> = { version: STEP_VERSION, projectId, batchId, notification };
      return start(notificationMachineArn, notificationExecutionName(batchId, notification), input);
    },
    describeBatch: (batchId, attempt) => describe(batchMachineArn, batchExecutionName(batchId, attempt)),
    describeNotification: (batchId, notification) =>
      describe(notificationMachineArn, notificationExecutionName(batchId, notification)),
    startSnapshot({ projectId, batchId }, snapshot) {
      const input: StepInput<'snapshotBatch'> = { version: STEP_VERSION, projectId, batchId, snapshot };
      return start(snapshotMachineArn, snapshotExecutionName(batchId, snapshot), input);
    },
    describeSnapshot: (batchId, snapshot) => describe(snapshotMachineArn, snapshotExecutionName(batchId, snapshot)),
    async stopBatch(batchId, attempt, cause) {
      const arn = executionArn(batchMachineArn, batchExecutionName(batchId, attempt));
      const command = new StopExecutionCommand({ executionArn: arn, cause: cause.slice(0, MAX_CAUSE_CHARACTERS) });
      try {
        await client.send(command);
      } catch (error) {
        // What never ran does not run now.
        if (!(error instanceof ExecutionDoesNotExist)) throw error;
      }
    },
  };
}

/** `arn:…:stateMachine:<machine>` → `arn:…:execution:<machine>:<name>`. */
function executionArn(machineArn: string, name: string): string {
  return `${machineArn.replace(':stateMachine:', ':execution:')}:${name}`;
}
