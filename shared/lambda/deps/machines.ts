import { SFNClient } from '@aws-sdk/client-sfn';
import { createWorkflow } from '../../adapters/sfn/workflow.ts';
import type { Ports } from '../../ports.ts';
import type { Environment } from '../environment.ts';

/** The machines that the function was given the ARN of; a call for the other one is refused. */
export function machinePorts(
  environment: Partial<Environment<'BATCH_MACHINE_ARN' | 'NOTIFICATION_MACHINE_ARN'>>,
): Pick<Ports, 'workflow'> {
  const { BATCH_MACHINE_ARN = '', NOTIFICATION_MACHINE_ARN = '' } = environment;
  return {
    workflow: createWorkflow({
      client: new SFNClient({}),
      batchMachineArn: BATCH_MACHINE_ARN,
      notificationMachineArn: NOTIFICATION_MACHINE_ARN,
    }),
  };
}
