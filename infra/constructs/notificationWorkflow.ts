import { Duration } from 'aws-cdk-lib';
import * as sfn from 'aws-cdk-lib/aws-stepfunctions';
import { Construct } from 'constructs';
import type { Stage } from '../config.ts';
import type { BatchFunctions } from './batchFunctions.ts';
import { lambdaStep } from './lambdaStep.ts';
import { acceptMachine, machineLogs } from './machineLogs.ts';

/** The notification machine: Notify ⟲ Wait until the receiver has answered with a 2xx or the schedule is over. */
export class NotificationWorkflow extends Construct {
  readonly machine: sfn.StateMachine;

  constructor(scope: Construct, id: string, props: { functions: BatchFunctions; stage: Stage }) {
    super(scope, id);
    const notify = lambdaStep(this, 'Notify', props.functions.get('workflow/notifyReceiver'));
    const wait = new sfn.Wait(this, 'WaitForReceiver', { time: sfn.WaitTime.secondsPath('$.waitSeconds') });
    notify.next(
      new sfn.Choice(this, 'AfterNotify')
        .when(sfn.Condition.stringEquals('$.next', 'wait'), wait)
        .otherwise(new sfn.Succeed(this, 'Notified')),
    );
    wait.next(notify);
    this.machine = new sfn.StateMachine(this, 'Machine', {
      stateMachineType: sfn.StateMachineType.STANDARD,
      definitionBody: sfn.DefinitionBody.fromChainable(notify),
      logs: machineLogs(this, props.stage),
      // The schedule of attempts takes about three days; a receiver's Retry-After can stretch it.
      timeout: Duration.days(7),
    });
    acceptMachine(this.machine);
  }
}
