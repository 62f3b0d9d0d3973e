import { createWorkflowClient } from '../../adapters/sfn/client.ts';
import { createWorkflow } from '../../adapters/sfn/workflow.ts';
import type { Ports } from '../../ports.ts';
import type { Environment } from '../environment.ts';
import { metered } from '../metering.ts';

/**
 * The machines that the function was given the ARN of; a call for another one is refused. `maxAttempts` is for
 * callers who would rather go on without an answer than wait for it.
 */
export function machinePorts(
  environment: Partial<Environment<'BATCH_MACHINE_ARN' | 'NOTIFICATION_MACHINE_ARN' | 'SNAPSHOT_MACHINE_ARN'>>,
  client: { maxAttempts?: number } = {},
): Pick<Ports, 'workflow'> {
  const { BATCH_MACHINE_ARN = '', NOTIFICATION_MACHINE_ARN = '', SNAPSHOT_MACHINE_ARN = '' } = environment;
  return {
    workflow: createWorkflow({
      client: metered('states', createWorkflowClient(client)),
      batchMachineArn: BATCH_MACHINE_ARN,
      notificationMachineArn: NOTIFICATION_MACHINE_ARN,
      snapshotMachineArn: SNAPSHOT_MACHINE_ARN,
    }),
  };
}
