import { RemovalPolicy, Stack } from 'aws-cdk-lib';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as sfn from 'aws-cdk-lib/aws-stepfunctions';
import type { Construct } from 'constructs';
import type { Stage } from '../config.ts';
import { accept, logicalIdOf } from '../nag.ts';

/**
 * What a machine writes into a log: that something failed, and where; no input, no output. Everything else of an
 * execution is in its history for 90 days, and each invocation writes a line of its own.
 */
export function machineLogs(scope: Construct, stage: Stage): sfn.LogOptions {
  const { stackName } = Stack.of(scope);
  return {
    destination: new logs.LogGroup(scope, 'Logs', {
      // Groups of this prefix need no entry of their own in the account's resource policy, which takes 5,120 characters
      // (https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html).
      logGroupName: `/aws/vendedlogs/states/${stackName}-${scope.node.id}`,
      retention: stage.logRetentionDays as logs.RetentionDays,
      removalPolicy: RemovalPolicy.DESTROY,
    }),
    level: sfn.LogLevel.ERROR,
    includeExecutionData: false,
  };
}

/** Findings that every machine meets. */
export function acceptMachine(machine: sfn.StateMachine): void {
  accept(
    machine,
    'SF1',
    'ERROR, not ALL: the history keeps every event for 90 days at no cost, and each invocation logs its step; ALL would pay for a third copy.',
  );
  accept(
    machine,
    'SF2',
    'No X-Ray: nothing is instrumented, and a trace would say less than the history; ids join the log lines.',
  );
  accept(
    machine,
    'IAM5[Resource::*]',
    'The actions by which Step Functions sets up the delivery of its logs know no resources (https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html).',
  );
  accept(
    machine,
    `IAM5[Resource::${executionsOf(machine)}]`,
    'Children of the distributed map, whose names Step Functions chooses: of this very machine, no other.',
  );
}

/** All executions of the machine, as cdk-nag writes their ARN. */
export function executionsOf(machine: sfn.StateMachine): string {
  const ref = JSON.stringify({ 'Fn::Select': [6, { 'Fn::Split': [':', { Ref: logicalIdOf(machine) }] }] });
  return `arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:${ref}:*`;
}
