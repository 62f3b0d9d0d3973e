/**
 * Which resource types and properties the local run knows. `read` are the properties that it acts on; `without` are
 * those that change nothing on one machine, or that `docs/local.md` names as a difference. Anything else is an error:
 * nothing in the template is skipped in silence.
 */
export type TypeEntry = { read: readonly string[]; without: readonly string[] };

export const HOSTED_TYPES = {
  'AWS::Lambda::Function': {
    read: [
      'FunctionName',
      'Handler',
      'Code',
      'Runtime',
      'Environment',
      'Timeout',
      'MemorySize',
      'PackageType',
      'ReservedConcurrentExecutions',
    ],
    without: ['Role', 'Architectures', 'Description', 'Tags', 'LoggingConfig', 'TracingConfig', 'EphemeralStorage'],
  },
  'AWS::DynamoDB::Table': {
    read: ['TableName', 'KeySchema', 'AttributeDefinitions', 'GlobalSecondaryIndexes', 'LocalSecondaryIndexes'],
    without: [
      'BillingMode',
      'PointInTimeRecoverySpecification',
      'SSESpecification',
      'TimeToLiveSpecification',
      'DeletionProtectionEnabled',
      'ContributorInsightsSpecification',
      'Tags',
    ],
  },
  'AWS::S3::Bucket': {
    read: ['BucketName'],
    without: [
      'BucketEncryption',
      'PublicAccessBlockConfiguration',
      'OwnershipControls',
      'LifecycleConfiguration',
      'Tags',
    ],
  },
  'AWS::StepFunctions::StateMachine': {
    read: ['StateMachineName', 'StateMachineType', 'DefinitionString', 'DefinitionSubstitutions'],
    without: ['RoleArn', 'LoggingConfiguration', 'TracingConfiguration', 'Tags'],
  },
  'AWS::ApiGatewayV2::Api': {
    read: ['ProtocolType'],
    without: ['Name', 'Description', 'Tags'],
  },
  'AWS::ApiGatewayV2::Stage': {
    read: ['ApiId', 'StageName'],
    without: ['AutoDeploy', 'AccessLogSettings', 'DefaultRouteSettings', 'RouteSettings', 'Description', 'Tags'],
  },
  'AWS::ApiGatewayV2::Integration': {
    read: ['ApiId', 'IntegrationType', 'IntegrationUri', 'PayloadFormatVersion', 'TimeoutInMillis'],
    without: ['IntegrationMethod', 'Description'],
  },
  'AWS::ApiGatewayV2::Route': {
    read: ['ApiId', 'RouteKey', 'Target', 'AuthorizationType'],
    without: ['OperationName'],
  },
  'AWS::Events::Rule': {
    read: ['ScheduleExpression', 'State', 'Targets'],
    without: ['Name', 'Description'],
  },
  'AWS::Scheduler::Schedule': {
    read: ['ScheduleExpression', 'State', 'Target'],
    without: ['Name', 'Description', 'FlexibleTimeWindow', 'GroupName'],
  },
  'AWS::SecretsManager::Secret': {
    read: ['Name', 'SecretString', 'GenerateSecretString'],
    without: ['Description', 'KmsKeyId', 'Tags'],
  },
} as const satisfies Record<string, TypeEntry>;
export type HostedType = keyof typeof HOSTED_TYPES;

/** Types that mean nothing on one machine: rights, logs, alarms, and CDK's own bookkeeping. */
export const TYPES_WITHOUT_LOCAL_MEANING: ReadonlySet<string> = new Set([
  'AWS::CDK::Metadata',
  'AWS::CloudWatch::Alarm',
  'AWS::CloudWatch::Dashboard',
  'AWS::IAM::ManagedPolicy',
  'AWS::IAM::Policy',
  'AWS::IAM::Role',
  'AWS::KMS::Alias',
  'AWS::KMS::Key',
  'AWS::Lambda::Permission',
  'AWS::Logs::LogGroup',
  'AWS::Logs::MetricFilter',
  'AWS::Logs::ResourcePolicy',
  'AWS::S3::BucketPolicy',
  'AWS::SecretsManager::ResourcePolicy',
]);

/** What a resource may say besides its properties. Policies of deletion and update mean nothing here. */
export const RESOURCE_KEYS: ReadonlySet<string> = new Set([
  'Type',
  'Properties',
  'Condition',
  'DependsOn',
  'DeletionPolicy',
  'UpdateReplacePolicy',
  'Metadata',
]);

/** Sections of a template. `Rules` only checks the bootstrap version of an account. */
export const TEMPLATE_SECTIONS: ReadonlySet<string> = new Set([
  'AWSTemplateFormatVersion',
  'Description',
  'Metadata',
  'Parameters',
  'Mappings',
  'Conditions',
  'Rules',
  'Resources',
  'Outputs',
]);
