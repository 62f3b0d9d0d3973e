import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import { readModels, type Stage } from './config.ts';
import { BatchAlarms } from './constructs/alarms.ts';
import { BatchApi } from './constructs/batchApi.ts';
import { BatchBucket } from './constructs/batchBucket.ts';
import { BatchFunctions } from './constructs/batchFunctions.ts';
import { BatchSecrets } from './constructs/batchSecrets.ts';
import { BatchTable } from './constructs/batchTable.ts';
import { BatchWorkflow } from './constructs/batchWorkflow.ts';
import { CheckSchedule } from './constructs/checkSchedule.ts';
import { NotificationWorkflow } from './constructs/notificationWorkflow.ts';
import { SnapshotWorkflow } from './constructs/snapshotWorkflow.ts';

export type BatchStackProps = StackProps & { stage: Stage; modelsPath: string; version: string };

/** The whole product as one stack. */
export class BatchStack extends Stack {
  constructor(scope: Construct, id: string, props: BatchStackProps) {
    super(scope, id, props);
    const { stage, modelsPath, version } = props;
    const { table } = new BatchTable(this, 'Records', stage);
    const { bucket } = new BatchBucket(this, 'Files', stage);
    const secrets = new BatchSecrets(this, 'Secrets', { models: readModels(modelsPath) });
    const functions = new BatchFunctions(this, 'Functions', { stage, modelsPath, table, bucket, secrets, version });
    const { machine: notification } = new NotificationWorkflow(this, 'Notification', { functions, stage });
    const { machine: batch } = new BatchWorkflow(this, 'Batch', { functions, bucket, stage });
    const { machine: snapshot } = new SnapshotWorkflow(this, 'Snapshot', { functions, stage });
    functions.connectMachines({ batch, notification, snapshot });
    const api = new BatchApi(this, 'Http', { functions, stage });
    new CheckSchedule(this, 'Check', { functions, everyMinutes: stage.checkEveryMinutes });
    new BatchAlarms(this, 'Alarms', { stage, functions, table, machines: { batch, notification } });

    new CfnOutput(this, 'ApiUrl', { value: api.url });
    new CfnOutput(this, 'OperatorKeySecretArn', { value: secrets.operatorKey.secretArn });
    new CfnOutput(this, 'ReadOperatorKeyCommand', {
      value: `aws secretsmanager get-secret-value --secret-id ${secrets.operatorKey.secretArn} --query SecretString --output text --region ${this.region}`,
    });
    // Through a pipe: what stands in arguments, other users of the machine can read, and the shell's history keeps.
    new CfnOutput(this, 'RotateOperatorKeyCommand', {
      value: `openssl rand -hex 32 | aws secretsmanager put-secret-value --secret-id ${secrets.operatorKey.secretArn} --secret-string file:///dev/stdin --region ${this.region}`,
    });
    for (const [provider, secret] of Object.entries(secrets.modelKeys)) {
      new CfnOutput(this, `ModelKeySecretArn-${provider}`.replaceAll(/[^A-Za-z0-9]/g, ''), { value: secret.secretArn });
    }
    new CfnOutput(this, 'TableName', { value: table.tableName });
    new CfnOutput(this, 'BucketName', { value: bucket.bucketName });
    new CfnOutput(this, 'BatchMachineArn', { value: batch.stateMachineArn });
    new CfnOutput(this, 'NotificationMachineArn', { value: notification.stateMachineArn });
  }
}
