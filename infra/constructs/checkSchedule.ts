import { Duration } from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import { Construct } from 'constructs';
import type { BatchFunctions } from './batchFunctions.ts';

/**
 * Runs checkBatches (the same code as the operator's route), and once a day the sweep for batches that the due index has
 * lost. The local run fires both soon after it starts.
 */
export class CheckSchedule extends Construct {
  constructor(scope: Construct, id: string, props: { functions: BatchFunctions; everyMinutes: number }) {
    super(scope, id);
    new events.Rule(this, 'Rule', {
      description: 'Looks at every batch that is due and moves it on',
      schedule: events.Schedule.rate(Duration.minutes(props.everyMinutes)),
      // The next run comes soon: a late one is not worth repeating.
      targets: [new targets.LambdaFunction(props.functions.get('schedule/checkBatches'), { retryAttempts: 0 })],
    });
    new events.Rule(this, 'SweepRule', {
      description: 'Finds open batches that the due index does not name',
      schedule: events.Schedule.rate(Duration.days(1)),
      targets: [new targets.LambdaFunction(props.functions.get('schedule/sweepBatches'), { retryAttempts: 2 })],
    });
  }
}
