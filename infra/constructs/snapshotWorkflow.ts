import { Duration } from 'aws-cdk-lib';
import * as sfn from 'aws-cdk-lib/aws-stepfunctions';
import { Construct } from 'constructs';
import type { Stage } from '../config.ts';
import type { BatchFunctions } from './batchFunctions.ts';
import { lambdaStep } from './lambdaStep.ts';
import { acceptMachine, machineLogs } from './machineLogs.ts';

/** The snapshot machine: Snapshot ⟲ until the partial results of a running batch are copied. */
export class SnapshotWorkflow extends Construct {
  readonly machine: sfn.StateMachine;

  constructor(scope: Construct, id: string, props: { functions: BatchFunctions; stage: Stage }) {
    super(scope, id);
    const snapshot = lambdaStep(this, 'Snapshot', props.functions.get('workflow/snapshotBatch'));
    snapshot.next(
      new sfn.Choice(this, 'AfterSnapshot')
        .when(sfn.Condition.stringEquals('$.next', 'snapshot'), snapshot)
        .otherwise(new sfn.Succeed(this, 'Taken')),
    );
    this.machine = new sfn.StateMachine(this, 'Machine', {
      stateMachineType: sfn.StateMachineType.STANDARD,
      definitionBody: sfn.DefinitionBody.fromChainable(snapshot),
      logs: machineLogs(this, props.stage),
      // Some 40 invocations of 15 minutes: far more than the results of the largest batch take.
      timeout: Duration.hours(10),
    });
    acceptMachine(this.machine);
  }
}
