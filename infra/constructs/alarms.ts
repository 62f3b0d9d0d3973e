import { Duration, Stack } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import type * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as sns from 'aws-cdk-lib/aws-sns';
import type * as sfn from 'aws-cdk-lib/aws-stepfunctions';
import { Construct } from 'constructs';
import type { FunctionName } from '../../shared/contract/functions.ts';
import type { Stage } from '../config.ts';
import type { BatchFunctions } from './batchFunctions.ts';

type Props = {
  stage: Stage;
  functions: Pick<BatchFunctions, 'get'>;
  table: dynamodb.Table;
  machines: { batch: sfn.StateMachine; notification: sfn.StateMachine };
};

type Watched = {
  /** What it means, and where to go on reading: what whoever is woken reads first. */
  says: string;
  metric: cloudwatch.IMetric;
  /** Raised from this sum on, in each of `periods` periods of the metric in a row. */
  from: number;
  periods?: number;
};

/** A line that a function logs at ERROR, by the beginning of its message (a test holds these to the code). */
export const LOGGED = {
  cannotBeEnded: 'A batch cannot be ended',
  notChecked: 'A batch could not be checked',
  partMissing: 'A committed part is missing',
} as const;

// CloudWatch's longest period of an alarm with one evaluation.
const LONGEST_PERIOD_MINUTES = 1440;

/**
 * What needs a person. The machines and the check mend by themselves what they can, so an alarm is for what they cannot,
 * or for what goes on for too long. Each is told to the stage's topic, if it names one; docs/operations.md says what to
 * do about each.
 */
export class BatchAlarms extends Construct {
  private readonly props: Props;
  private readonly action: SnsAction | undefined;

  constructor(scope: Construct, id: string, props: Props) {
    super(scope, id);
    this.props = props;
    const { alarmTopicArn } = props.stage;
    this.action = alarmTopicArn ? new SnsAction(sns.Topic.fromTopicArn(this, 'Topic', alarmTopicArn)) : undefined;
    this.watchBatches();
    this.watchChecks();
    this.watchNotifications();
    this.watchThrottles();
  }

  private watchBatches(): void {
    const { batch } = this.props.machines;
    const hour = { period: Duration.hours(1), statistic: 'Sum' };
    this.alarm('ExecutionsFail', {
      says: 'Executions of the batch machine fail again and again: a step meets the same fault in each attempt.',
      metric: batch.metricFailed(hour),
      // One batch that never gets anywhere fails four times, in some 30 minutes, before its fifth attempt gives it up;
      // fewer are hiccups that were mended.
      from: 4,
    });
    this.alarm('ExecutionsTimeOut', {
      says: 'An execution of the batch machine ran for its whole nine days, which no batch should take.',
      metric: batch.metricTimedOut(hour),
      from: 1,
    });
    this.alarm('CannotBeEnded', {
      says: 'A batch has results that cannot be gathered: its client waits, and it is tried again each hour for ever.',
      metric: this.logged('schedule/checkBatches', 'cannotBeEnded', Duration.hours(1)),
      from: 1,
    });
    this.alarm('PartMissing', {
      says: 'A committed part of a batch is not in the bucket: its lines end as processing_failed.',
      metric: this.logged('workflow/finalizeBatch', 'partMissing', Duration.hours(1)),
      from: 1,
    });
  }

  private watchChecks(): void {
    const { functions, stage } = this.props;
    const check = functions.get('schedule/checkBatches');
    const day = Duration.days(1);
    const period = Duration.minutes(Math.min(LONGEST_PERIOD_MINUTES, 5 * stage.checkEveryMinutes));
    this.alarm('CheckFails', {
      says: 'The check fails, and with it recovery, expiry and lost notifications.',
      metric: check.metricErrors({ period, statistic: 'Sum' }),
      // Of five runs: what one leaves undone the next does.
      from: 3,
    });
    this.alarm(
      'CheckAbsent',
      {
        says: 'The check has not run: nothing that was lost is found.',
        metric: check.metricInvocations({ period, statistic: 'Sum' }),
        from: 1,
      },
      // Raised when there are fewer, or no word of any.
      { comparisonOperator: cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD, treatMissingData: BREACHING },
    );
    this.alarm('NotChecked', {
      says: 'Batches cannot be looked at by the check: their records or Step Functions cannot be read.',
      metric: this.logged('schedule/checkBatches', 'notChecked', Duration.minutes(15)),
      // Every look tries again after minutes; a fault of the service's own is over by then.
      from: 5,
    });
    this.alarm('SweepFails', {
      says: 'The daily sweep failed, ran out of time, or found a record that nothing can read.',
      metric: total(
        functions.get('schedule/sweepBatches').metricErrors({ period: day, statistic: 'Sum' }),
        this.filter('schedule/sweepBatches', 'SweepErrors', SWEEP_ERROR, day),
      ),
      from: 1,
    });
  }

  private watchNotifications(): void {
    const { machines, stage } = this.props;
    this.alarm('NotificationsFail', {
      says: 'Executions of the notification machine fail: clients are not told, though their receivers may be well.',
      metric: machines.notification.metricFailed({ period: Duration.hours(1), statistic: 'Sum' }),
      from: 5,
    });
    // The last attempt is told of at WARN.
    if (stage.settings.logLevel === 'ERROR') return;
    const pattern = logs.FilterPattern.all(
      logs.FilterPattern.stringValue('$.message', '=', 'Notification attempted'),
      logs.FilterPattern.stringValue('$.result', '=', 'gave_up'),
    );
    this.alarm('NotificationsGivenUp', {
      says: 'Receivers did not take their notifications for three days: clients may not know that their batches ended.',
      metric: this.filter('workflow/notifyReceiver', 'NotificationsGivenUp', pattern, Duration.hours(1)),
      // One is its client's own affair; several at once may be ours (an address that cannot be reached from here).
      from: 5,
    });
  }

  private watchThrottles(): void {
    const { functions, table } = this.props;
    const period = Duration.minutes(5);
    this.alarm('WorkersThrottled', {
      says: 'Lambda has refused workers for a quarter of an hour: the concurrency of the account or of the stage is used up.',
      metric: functions.get('workflow/runShard').metricThrottles({ period, statistic: 'Sum' }),
      from: 1,
      // Machines try a throttled task again for about 20 minutes before the shard's turn is lost.
      periods: 3,
    });
    this.alarm('TableThrottled', {
      says: 'The table refuses requests for a quarter of an hour: a partition is hot, or an account limit is met.',
      metric: total(
        table.metric('ReadThrottleEvents', { period, statistic: 'Sum' }),
        table.metric('WriteThrottleEvents', { period, statistic: 'Sum' }),
      ),
      // The client tries each request six times; a few a minute are nothing.
      from: 100,
      periods: 3,
    });
  }

  private alarm(
    name: string,
    { says, metric, from, periods = 1 }: Watched,
    more: Partial<cloudwatch.AlarmProps> = {},
  ): void {
    const alarm = new cloudwatch.Alarm(this, name, {
      alarmDescription: `${says} See docs/operations.md, "${name}".`,
      metric,
      threshold: from,
      evaluationPeriods: periods,
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      // Nothing happened is nothing wrong.
      treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
      ...more,
    });
    if (this.action) alarm.addAlarmAction(this.action);
  }

  private logged(name: FunctionName, line: keyof typeof LOGGED, period: Duration): cloudwatch.Metric {
    const metricName = `${line.charAt(0).toUpperCase()}${line.slice(1)}`;
    const pattern = logs.FilterPattern.stringValue('$.message', '=', `${LOGGED[line]}*`);
    return this.filter(name, metricName, pattern, period);
  }

  /** Counts the lines of one function's log that match. Costs nothing until there is one. */
  private filter(
    name: FunctionName,
    metricName: string,
    filterPattern: logs.IFilterPattern,
    period: Duration,
  ): cloudwatch.Metric {
    const filter = new logs.MetricFilter(this, `${metricName}Filter`, {
      logGroup: this.props.functions.get(name).logGroup,
      filterPattern,
      // A name of the stack's own: stages of one account do not count for each other.
      metricNamespace: `BatchApi/${Stack.of(this).stackName}`,
      metricName,
      metricValue: '1',
    });
    return filter.metric({ period, statistic: 'Sum' });
  }
}

const BREACHING = cloudwatch.TreatMissingData.BREACHING;
const SWEEP_ERROR = logs.FilterPattern.stringValue('$.level', '=', 'ERROR');

/** The sum of two metrics of one period, each of which may have nothing to tell. */
function total(a: cloudwatch.Metric, b: cloudwatch.Metric): cloudwatch.MathExpression {
  return new cloudwatch.MathExpression({
    expression: 'FILL(a, 0) + FILL(b, 0)',
    usingMetrics: { a, b },
    period: a.period,
  });
}
