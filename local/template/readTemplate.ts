import type { Assembly, Template, TemplateResource } from './assembly.ts';
import { isTrue, type Names, resolveValue, TemplateError } from './intrinsics.ts';
import { type LocalName, localName, PSEUDO_PARAMETERS } from './localNames.ts';
import type { LocalPlan } from './plan.ts';
import {
  type Resolved,
  readFunction,
  readMachine,
  readRoutes,
  readSchedule,
  readSecret,
  readTable,
} from './readResources.ts';
import {
  HOSTED_TYPES,
  type HostedType,
  RESOURCE_KEYS,
  TEMPLATE_SECTIONS,
  TYPES_WITHOUT_LOCAL_MEANING,
  type TypeEntry,
} from './resourceTypes.ts';

/** The property that sets a resource's own name, where a type has one. */
const NAME_PROPERTIES = ['FunctionName', 'TableName', 'BucketName', 'StateMachineName', 'Name'] as const;

/** Turns a synthesized template into the plan of a local run; throws `TemplateError` for what it does not know. */
export function planFromAssembly({ template, stackName, codeFolders }: Assembly): LocalPlan {
  for (const section of Object.keys(template)) {
    if (!TEMPLATE_SECTIONS.has(section)) throw new TemplateError(`The local run does not know the section ${section}`);
  }
  const { names, find } = namesOf(template, stackName);
  const resources = hostedResources(template, names, find);
  const ofType = (type: HostedType) => resources.filter((resource) => resource.type === type);
  return {
    stackName,
    functions: ofType('AWS::Lambda::Function').map((resource) => readFunction(resource, codeFolders)),
    tables: ofType('AWS::DynamoDB::Table').map(readTable),
    buckets: ofType('AWS::S3::Bucket').map(({ name }) => ({ name })),
    machines: ofType('AWS::StepFunctions::StateMachine').map(readMachine),
    routes: readRoutes(resources),
    schedules: [...ofType('AWS::Events::Rule'), ...ofType('AWS::Scheduler::Schedule')].flatMap(readSchedule),
    secrets: ofType('AWS::SecretsManager::Secret').map(readSecret),
    outputs: Object.fromEntries(
      Object.entries(template.Outputs ?? {}).map(([id, { Value }]) => [
        id,
        String(resolveValue(Value, names, `Outputs.${id}`)),
      ]),
    ),
  };
}

function isHosted(type: string): type is HostedType {
  return Object.hasOwn(HOSTED_TYPES, type);
}

function givenName(logicalId: string, resource: TemplateResource, names: Names): string | undefined {
  // An API's `Name` is a label, not what it is referred to by.
  if (resource.Type.startsWith('AWS::ApiGatewayV2::')) return undefined;
  for (const property of NAME_PROPERTIES) {
    const value = resource.Properties?.[property];
    if (value !== undefined) return String(resolveValue(value, names, `${logicalId}.${property}`));
  }
  return undefined;
}

type FindName = (logicalId: string) => LocalName | undefined;

function namesOf(template: Template, stackName: string): { names: Names; find: FindName } {
  const pseudo = PSEUDO_PARAMETERS(stackName);
  const known = new Map<string, LocalName | undefined>();
  const find: FindName = (logicalId) => {
    const resource = Object.hasOwn(template.Resources, logicalId) ? template.Resources[logicalId] : undefined;
    if (!resource) return undefined;
    if (!known.has(logicalId)) {
      known.set(logicalId, localName(logicalId, resource, stackName, givenName(logicalId, resource, names)));
    }
    return known.get(logicalId);
  };
  const names: Names = {
    ref: (name) => pseudo[name] ?? find(name)?.ref ?? template.Parameters?.[name]?.Default,
    attribute: (logicalId, attribute) => find(logicalId)?.attributes[attribute],
    condition: (name) => template.Conditions?.[name],
    mapping: (map, top, second) => template.Mappings?.[map]?.[top]?.[second],
  };
  return { names, find };
}

function hostedResources(template: Template, names: Names, find: FindName): Resolved[] {
  const resources: Resolved[] = [];
  const problems: string[] = [];
  for (const [logicalId, resource] of Object.entries(template.Resources)) {
    const { Type: type } = resource;
    const condition = resource.Condition;
    if (typeof condition === 'string' && !isTrue(names.condition(condition), names, condition)) continue;
    if (TYPES_WITHOUT_LOCAL_MEANING.has(type)) continue;
    if (!isHosted(type)) {
      problems.push(`resource type ${type} (${logicalId})`);
      continue;
    }
    for (const key of Object.keys(resource)) {
      if (!RESOURCE_KEYS.has(key)) problems.push(`${key} of ${logicalId} (${type})`);
    }
    const { read, without }: TypeEntry = HOSTED_TYPES[type];
    const properties: Record<string, unknown> = {};
    for (const [property, value] of Object.entries(resource.Properties ?? {})) {
      if (read.includes(property)) {
        const resolved = resolveValue(value, names, `${logicalId}.${property}`);
        if (resolved !== undefined) properties[property] = resolved;
      } else if (!without.includes(property)) problems.push(`property ${property} of ${logicalId} (${type})`);
    }
    const local = find(logicalId);
    if (!local) throw new TemplateError(`${type} (${logicalId}) has no local name`);
    resources.push({
      logicalId,
      type,
      name: local.name,
      ref: local.ref,
      arn: local.attributes.Arn ?? local.ref,
      properties,
    });
  }
  if (problems.length > 0) throw new TemplateError(`The local run does not know: ${problems.join('; ')}.`);
  return resources;
}
