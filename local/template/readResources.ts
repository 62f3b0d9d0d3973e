import { join } from 'node:path';
import * as z from 'zod';
import { isObject, TemplateError } from './intrinsics.ts';
import type { FunctionPlan, MachinePlan, RoutePlan, SchedulePlan, SecretPlan, TablePlan } from './plan.ts';
import type { HostedType } from './resourceTypes.ts';

/** A resource with its properties resolved to local values. */
export type Resolved = {
  logicalId: string;
  type: HostedType;
  name: string;
  ref: string;
  arn: string;
  properties: Record<string, unknown>;
};

function read<T extends z.ZodType>(schema: T, resource: Resolved): z.output<T> {
  const parsed = schema.safeParse(resource.properties);
  if (parsed.success) return parsed.data;
  throw new TemplateError(
    `${resource.type} ${resource.logicalId} is not what the local run can host: ${z.prettifyError(parsed.error)}`,
  );
}

const FunctionProperties = z.object({
  Handler: z.string(),
  Runtime: z.string().startsWith('nodejs'),
  Code: z.strictObject({ S3Bucket: z.string(), S3Key: z.string() }),
  // https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-function.html
  Timeout: z.coerce.number().default(3),
  MemorySize: z.coerce.number().default(128),
  Environment: z.strictObject({ Variables: z.record(z.string(), z.coerce.string()).default({}) }).optional(),
  ReservedConcurrentExecutions: z.coerce.number().optional(),
  PackageType: z.literal('Zip').optional(),
});

export function readFunction(resource: Resolved, codeFolders: Map<string, string>): FunctionPlan {
  const properties = read(FunctionProperties, resource);
  const folder = codeFolders.get(properties.Code.S3Key);
  if (folder === undefined) {
    throw new TemplateError(`The code of ${resource.logicalId} (${properties.Code.S3Key}) is not among the assets`);
  }
  const dot = properties.Handler.lastIndexOf('.');
  return {
    logicalId: resource.logicalId,
    name: resource.name,
    arn: resource.arn,
    // Node's ES modules: the bundle is `<file>.mjs`, as infra/bundle.ts writes it.
    entryFile: join(folder, `${properties.Handler.slice(0, dot)}.mjs`),
    handlerExport: properties.Handler.slice(dot + 1),
    environment: properties.Environment?.Variables ?? {},
    timeoutSeconds: properties.Timeout,
    memoryMb: properties.MemorySize,
    reservedConcurrency: properties.ReservedConcurrentExecutions,
  };
}

const KeySchema = z.array(z.strictObject({ AttributeName: z.string(), KeyType: z.enum(['HASH', 'RANGE']) }));
const Index = z.strictObject({
  IndexName: z.string(),
  KeySchema,
  Projection: z.strictObject({
    ProjectionType: z.enum(['ALL', 'KEYS_ONLY', 'INCLUDE']).optional(),
    NonKeyAttributes: z.array(z.string()).optional(),
  }),
});
const TableProperties = z.object({
  KeySchema,
  AttributeDefinitions: z.array(z.strictObject({ AttributeName: z.string(), AttributeType: z.enum(['S', 'N', 'B']) })),
  GlobalSecondaryIndexes: z.array(Index).default([]),
  LocalSecondaryIndexes: z.array(Index).default([]),
});

export function readTable(resource: Resolved): TablePlan {
  const properties = read(TableProperties, resource);
  return {
    name: resource.name,
    keySchema: properties.KeySchema,
    attributeDefinitions: properties.AttributeDefinitions,
    globalIndexes: properties.GlobalSecondaryIndexes,
    localIndexes: properties.LocalSecondaryIndexes,
  };
}

const MachineProperties = z.object({
  StateMachineType: z.literal('STANDARD').default('STANDARD'),
  DefinitionString: z.string(),
  DefinitionSubstitutions: z.record(z.string(), z.coerce.string()).default({}),
});

export function readMachine(resource: Resolved): MachinePlan {
  const { DefinitionString, DefinitionSubstitutions } = read(MachineProperties, resource);
  const text = DefinitionString.replace(/\$\{([^}]+)\}/g, (_, name: string) => {
    const value = DefinitionSubstitutions[name];
    if (value === undefined) throw new TemplateError(`${resource.logicalId} has no DefinitionSubstitutions.${name}`);
    return value;
  });
  const definition: unknown = JSON.parse(text);
  if (!isObject(definition)) throw new TemplateError(`The definition of ${resource.logicalId} is not an object`);
  return { name: resource.name, arn: resource.arn, definition };
}

const StageProperties = z.object({ ApiId: z.string(), StageName: z.literal('$default') });
const ApiProperties = z.object({ ProtocolType: z.literal('HTTP') });
const IntegrationProperties = z.object({
  ApiId: z.string(),
  IntegrationType: z.literal('AWS_PROXY'),
  IntegrationUri: z.string(),
  PayloadFormatVersion: z.literal('2.0'),
  // https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
  TimeoutInMillis: z.coerce.number().max(30_000).default(30_000),
});
const RouteProperties = z.object({
  ApiId: z.string(),
  RouteKey: z.string(),
  Target: z.string().startsWith('integrations/'),
  AuthorizationType: z.literal('NONE').optional(),
});

/** The routes of the one HTTP API. */
export function readRoutes(resources: Resolved[]): RoutePlan[] {
  const ofType = (type: HostedType) => resources.filter((resource) => resource.type === type);
  const apis = ofType('AWS::ApiGatewayV2::Api');
  if (apis.length > 1) throw new TemplateError(`${apis.length} HTTP APIs; the local run serves one`);
  for (const api of apis) read(ApiProperties, api);
  for (const stage of ofType('AWS::ApiGatewayV2::Stage')) read(StageProperties, stage);
  const integrations = new Map(
    ofType('AWS::ApiGatewayV2::Integration').map((resource) => [resource.ref, read(IntegrationProperties, resource)]),
  );
  return ofType('AWS::ApiGatewayV2::Route').map((resource) => {
    const { RouteKey, Target } = read(RouteProperties, resource);
    const integration = integrations.get(Target.slice('integrations/'.length));
    if (!integration) throw new TemplateError(`Route ${resource.logicalId} has no integration ${Target}`);
    const [method, path] = RouteKey === '$default' ? ['ANY', '$default'] : RouteKey.split(' ');
    if (!method || !path) throw new TemplateError(`Route ${resource.logicalId} has the key "${RouteKey}"`);
    return { method, path, functionArn: integration.IntegrationUri, timeoutMs: integration.TimeoutInMillis };
  });
}

const Target = z.object({ Arn: z.string(), Input: z.string().optional() });
const RuleTarget = Target.extend({ Id: z.string(), RetryPolicy: z.unknown().optional() }).strict();
const ScheduleTarget = Target.extend({ RoleArn: z.unknown().optional(), RetryPolicy: z.unknown().optional() }).strict();
const State = z.enum(['ENABLED', 'DISABLED']).default('ENABLED');
const RuleProperties = z.object({ ScheduleExpression: z.string(), State, Targets: z.array(RuleTarget) });
const ScheduleProperties = z.object({ ScheduleExpression: z.string(), State, Target: ScheduleTarget });
const UNIT_MS = { minute: 60_000, hour: 3_600_000, day: 86_400_000 } as const;

export function readSchedule(resource: Resolved): SchedulePlan[] {
  const isRule = resource.type === 'AWS::Events::Rule';
  const { ScheduleExpression, State } = read(isRule ? RuleProperties : ScheduleProperties, resource);
  const targets = isRule ? read(RuleProperties, resource).Targets : [read(ScheduleProperties, resource).Target];
  const rate = /^rate\((\d+) (minute|hour|day)s?\)$/.exec(ScheduleExpression);
  if (!rate) {
    throw new TemplateError(`${resource.logicalId}: the local run knows rate(…), not ${ScheduleExpression}`);
  }
  if (State === 'DISABLED') return [];
  const everyMs = Number(rate[1]) * UNIT_MS[rate[2] as keyof typeof UNIT_MS];
  return targets.map(({ Arn, Input }) => ({
    name: resource.name,
    arn: resource.arn,
    everyMs,
    functionArn: Arn,
    input: Input === undefined ? undefined : JSON.parse(Input),
  }));
}

const SecretProperties = z.object({
  SecretString: z.string().optional(),
  GenerateSecretString: z.record(z.string(), z.unknown()).optional(),
});

export function readSecret(resource: Resolved): SecretPlan {
  const { SecretString, GenerateSecretString } = read(SecretProperties, resource);
  return {
    logicalId: resource.logicalId,
    name: resource.name,
    arn: resource.ref,
    value: SecretString,
    generate: GenerateSecretString,
  };
}
