import { Duration } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import type * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sfn from 'aws-cdk-lib/aws-stepfunctions';
import * as tasks from 'aws-cdk-lib/aws-stepfunctions-tasks';
import type { Construct } from 'constructs';
import { FINAL_ERRORS } from '../../shared/contract/steps.ts';

/** What the Lambda service itself can fail with; CDK's default list leaves out the throttle. */
const SERVICE_ERRORS = [
  'Lambda.ClientExecutionTimeoutException',
  'Lambda.ServiceException',
  'Lambda.AWSLambdaException',
  'Lambda.SdkClientException',
  'Lambda.TooManyRequestsException',
];

/**
 * The function's process died: out of memory, mostly. `Lambda.Unknown` is what older runtimes report for all of it
 * (https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html).
 */
const DEATHS = ['Runtime.ExitError', 'Runtime.OutOfMemory', 'Lambda.Unknown'];

/** The L2 would let the machine invoke every version and alias of the function as well. */
class InvokeStep extends tasks.LambdaInvoke {
  protected override readonly taskPolicies: iam.PolicyStatement[];

  constructor(scope: Construct, id: string, props: tasks.LambdaInvokeProps) {
    super(scope, id, props);
    const resources = [props.lambdaFunction.functionArn];
    this.taskPolicies = [new iam.PolicyStatement({ actions: ['lambda:InvokeFunction'], resources })];
  }
}

/**
 * A task that runs one function. Its state is the function's input and its answer the next state. A throttle waits up
 * to about 20 minutes, since it only says that the account is busy; a failure of the function about 4 minutes, the
 * length of a hiccup of DynamoDB or S3. After a death the first tries come soon, since waiting cures none: a line that
 * kills its worker has done so five times (`workerDeaths.ts`) within 13 s; all of them take about 6 minutes.
 */
export function lambdaStep(scope: Construct, id: string, fn: lambda.Function): tasks.LambdaInvoke {
  const step = new InvokeStep(scope, id, {
    queryLanguage: sfn.QueryLanguage.JSON_PATH,
    lambdaFunction: fn,
    outputPath: '$.Payload',
    retryOnServiceExceptions: false,
    // The function ends by itself at its own timeout; this is for an answer that never comes.
    taskTimeout: sfn.Timeout.duration((fn.timeout ?? Duration.minutes(15)).plus(Duration.seconds(30))),
  });
  step.addRetry({
    errors: SERVICE_ERRORS,
    interval: Duration.seconds(2),
    backoffRate: 2,
    maxAttempts: 24,
    maxDelay: Duration.minutes(1),
    jitterStrategy: sfn.JitterType.FULL,
  });
  step.addRetry({ errors: FINAL_ERRORS, maxAttempts: 0 });
  step.addRetry({
    errors: DEATHS,
    interval: Duration.seconds(1),
    backoffRate: 1.5,
    maxAttempts: 14,
    maxDelay: Duration.minutes(1),
    jitterStrategy: sfn.JitterType.FULL,
  });
  step.addRetry({
    errors: [sfn.Errors.TASKS_FAILED, sfn.Errors.TIMEOUT],
    interval: Duration.seconds(2),
    backoffRate: 2,
    maxAttempts: 8,
    maxDelay: Duration.minutes(1),
    jitterStrategy: sfn.JitterType.FULL,
  });
  return step;
}
