import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import type * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import type * as s3 from 'aws-cdk-lib/aws-s3';
import type * as sfn from 'aws-cdk-lib/aws-stepfunctions';
import { Construct } from 'constructs';
import {
  type FunctionName,
  type FunctionSpec,
  functions,
  type TableWord,
  type VariableName,
} from '../../shared/contract/functions.ts';
import { RECORD_KINDS, type RecordKind, TABLE } from '../../shared/contract/table.ts';
import { KEY_PREFIXES } from '../../shared/domain/objectKeys.ts';
import { bundleFunctions } from '../bundle.ts';
import type { Stage } from '../config.ts';
import { accept, logicalIdOf } from '../nag.ts';
import type { BatchSecrets } from './batchSecrets.ts';
import { executionsOf } from './machineLogs.ts';

type Props = {
  stage: Stage;
  modelsPath: string;
  table: dynamodb.Table;
  bucket: s3.Bucket;
  secrets: BatchSecrets;
  version: string;
};

const TABLE_ACTIONS = {
  get: 'dynamodb:GetItem',
  batchGet: 'dynamodb:BatchGetItem',
  query: 'dynamodb:Query',
  put: 'dynamodb:PutItem',
  update: 'dynamodb:UpdateItem',
} as const;

/** Kinds for which the same is allowed, together: a statement each. */
function kindsByWords(table: NonNullable<FunctionSpec['rights']['table']>): [readonly TableWord[], RecordKind[]][] {
  const entries = Object.entries(table) as [RecordKind, readonly TableWord[]][];
  return [...Map.groupBy(entries, ([, words]) => words.toSorted().join()).values()].map((same) => [
    same[0]?.[1] ?? [],
    same.map(([kind]) => kind),
  ]);
}

/** A pattern of partition keys. */
function leadingKeys(kind: RecordKind): string {
  const start = RECORD_KINDS[kind];
  return start.endsWith('#') ? `${start}*` : start;
}

/** `http/createBatch` → `CreateBatch`; the schedule's check and the route's share a name, so those keep their kind. */
function constructId(name: FunctionName): string {
  return name.replace(/(^|\/)(.)/g, (_, __, letter: string) => letter.toUpperCase());
}

/**
 * All Lambda functions, made from the table of functions: each with a role, a log group, variables and rights of its
 * own, and no right that the table does not name.
 */
export class BatchFunctions extends Construct {
  private readonly byName = new Map<FunctionName, lambda.Function>();
  private readonly props: Props;

  constructor(scope: Construct, id: string, props: Props) {
    super(scope, id);
    this.props = props;
    const specs = Object.entries(functions) as [FunctionName, FunctionSpec][];
    const folders = bundleFunctions(
      Object.fromEntries(specs.map(([name]) => [name, `functions/${name}.ts`])),
      props.modelsPath,
      new Set(specs.filter(([, spec]) => spec.models).map(([name]) => name)),
    );
    for (const [name, spec] of specs) this.byName.set(name, this.make(name, spec, folders[name] ?? ''));
    for (const prefix of Object.values(KEY_PREFIXES))
      accept(
        this,
        `IAM5[Resource::<${logicalIdOf(props.bucket)}.Arn>/${prefix}*]`,
        'Files of one kind, of whichever project and batch: a function works for all of them.',
      );
    for (const bucket of props.stage.settings.inputBuckets)
      accept(
        this,
        `IAM5[Resource::arn:<AWS::Partition>:s3:::${bucket}/*]`,
        'Clients name any file of a bucket that the stage lets input come from.',
      );
  }

  get(name: FunctionName): lambda.Function {
    const found = this.byName.get(name);
    if (!found) throw new Error(`There is no function ${name}`);
    return found;
  }

  /** Machines are made after the functions that they call; what starts, describes or stops them is wired here. */
  connectMachines(machines: Record<'batch' | 'notification' | 'snapshot', sfn.StateMachine>): void {
    const variables = {
      BATCH_MACHINE_ARN: machines.batch,
      NOTIFICATION_MACHINE_ARN: machines.notification,
      SNAPSHOT_MACHINE_ARN: machines.snapshot,
    } as const;
    for (const [name, spec] of Object.entries(functions) as [FunctionName, FunctionSpec][]) {
      const made = this.get(name);
      for (const [variable, machine] of Object.entries(variables)) {
        if (spec.variables.includes(variable as VariableName)) made.addEnvironment(variable, machine.stateMachineArn);
      }
      const rights = [
        [spec.rights.batchMachine, machines.batch],
        [spec.rights.notificationMachine, machines.notification],
        [spec.rights.snapshotMachine, machines.snapshot],
      ] as const;
      for (const [words, machine] of rights) {
        if (words?.some((word) => word === 'start')) machine.grantStartExecution(made);
        const actions = (words ?? []).flatMap((word) =>
          word === 'describe' ? ['states:DescribeExecution'] : word === 'stop' ? ['states:StopExecution'] : [],
        );
        if (actions.length > 0) machine.grantExecution(made, ...actions);
      }
    }
    for (const machine of Object.values(machines))
      accept(
        this,
        `IAM5[Resource::${executionsOf(machine)}]`,
        'Executions of one machine: each has a name of its own, made of the batch and a number.',
      );
  }

  private make(name: FunctionName, spec: FunctionSpec, folder: string): lambda.Function {
    const { stage } = this.props;
    const id = constructId(name);
    const logGroup = new logs.LogGroup(this, `${id}Logs`, {
      retention: stage.logRetentionDays as logs.RetentionDays,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    const role = new iam.Role(this, `${id}Role`, { assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com') });
    logGroup.grantWrite(role);
    const made = new lambda.Function(this, id, {
      description: `functions/${name}.ts`,
      code: lambda.Code.fromAsset(folder),
      handler: 'index.handler',
      runtime: lambda.Runtime.NODEJS_24_X,
      architecture: lambda.Architecture.ARM_64,
      timeout: Duration.seconds(spec.timeoutSeconds),
      memorySize: spec.memoryMb,
      role,
      logGroup,
      environment: this.variables(spec.variables),
      ...(name === 'workflow/runShard' && stage.reservedWorkers !== undefined
        ? { reservedConcurrentExecutions: stage.reservedWorkers }
        : {}),
    });
    this.grant(made, spec.rights, name);
    return made;
  }

  /** All but the machines' ARNs, which `connectMachines` adds. */
  private variables(names: readonly VariableName[]): Record<string, string> {
    const { table, bucket, secrets, stage, version } = this.props;
    const values: Partial<Record<VariableName, string>> = {
      SETTINGS: JSON.stringify(stage.settings),
      SERVICE_VERSION: version,
      TABLE_NAME: table.tableName,
      BUCKET_NAME: bucket.bucketName,
      OPERATOR_KEY_SECRET_ARN: secrets.operatorKey.secretArn,
      MODEL_KEY_SECRETS: Stack.of(this).toJsonString(
        Object.fromEntries(Object.entries(secrets.modelKeys).map(([provider, secret]) => [provider, secret.secretArn])),
      ),
    };
    return Object.fromEntries(
      names.flatMap((name) => {
        const value = values[name];
        return value === undefined ? [] : [[name, value]];
      }),
    );
  }

  private grant(made: lambda.Function, rights: FunctionSpec['rights'], name: FunctionName): void {
    const { table, bucket, secrets, stage } = this.props;
    const allow = (actions: string[], resources: string[]) =>
      made.addToRolePolicy(new iam.PolicyStatement({ actions, resources }));
    for (const [words, kinds] of kindsByWords(rights.table ?? {})) {
      made.addToRolePolicy(
        new iam.PolicyStatement({
          actions: words.map((word) => TABLE_ACTIONS[word]),
          resources: [table.tableArn],
          // Each of these actions names its keys, so the condition is never without a value.
          conditions: { 'ForAllValues:StringLike': { 'dynamodb:LeadingKeys': kinds.map(leadingKeys) } },
        }),
      );
    }
    const indexes = (names: readonly ('due' | 'list')[]) =>
      names.map((index) => `${table.tableArn}/index/${TABLE[`${index}Index`].name}`);
    if (rights.indexes) allow(['dynamodb:Query'], indexes(rights.indexes));
    if (rights.scan) allow(['dynamodb:Scan'], indexes(rights.scan));

    const objects = (kinds: readonly (keyof typeof KEY_PREFIXES)[] = []) =>
      kinds.map((kind) => bucket.arnForObjects(`${KEY_PREFIXES[kind]}*`));
    const { read, write, delete: remove } = rights.files ?? {};
    if (read) allow(['s3:GetObject'], objects(read));
    const multipart = rights.files?.multipart ? ['s3:AbortMultipartUpload', 's3:ListMultipartUploadParts'] : [];
    if (write) allow(['s3:PutObject', ...multipart], objects(write));
    if (remove) allow(['s3:DeleteObject'], objects(remove));
    // Without it S3 answers 403 for a key that is not there, which the steps, and a retry of an old batch, must tell from
    // a refusal. The rest of the API only signs URLs and needs it not.
    if (rights.files && (name.startsWith('workflow/') || name === 'http/retryBatch'))
      allow(['s3:ListBucket'], [bucket.bucketArn]);
    const { partition } = Stack.of(this);
    const inputBuckets = rights.inputBuckets ? stage.settings.inputBuckets : [];
    if (inputBuckets.length > 0)
      allow(
        ['s3:GetObject'],
        inputBuckets.map((name) => `arn:${partition}:s3:::${name}/*`),
      );

    const secretArns = [
      ...(rights.secrets?.includes('operatorKey') ? [secrets.operatorKey] : []),
      ...(rights.secrets?.includes('modelKeys') ? Object.values(secrets.modelKeys) : []),
    ].map((secret) => secret.secretArn);
    if (secretArns.length > 0) allow(['secretsmanager:GetSecretValue'], secretArns);
  }
}
