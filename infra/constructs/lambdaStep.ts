import { Duration } from 'aws-cdk-lib';
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
 * A task that runs one function. Its state is the function's input and its answer the next state. A throttle waits up
 * to about 20 minutes, since it only says that the account is busy; a failure of the function about 4 minutes, the
 * length of a hiccup of DynamoDB or S3.
 */
export function lambdaStep(scope: Construct, id: string, fn: lambda.Function): tasks.LambdaInvoke {
  const step = tasks.LambdaInvoke.jsonPath(scope, id, {
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
    errors: [sfn.Errors.TASKS_FAILED, sfn.Errors.TIMEOUT],
    interval: Duration.seconds(2),
    backoffRate: 2,
    maxAttempts: 8,
    maxDelay: Duration.minutes(1),
    jitterStrategy: sfn.JitterType.FULL,
  });
  return step;
}
