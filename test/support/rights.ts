/**
 * What the roles of a synthesized template may do, in words: `dynamodb:GetItem on table PROJECT#*`. Resources are named
 * by what they are here, so that a table that is written by hand, and calls that were seen, can be held against it.
 */
export type Right = { action: string; resource: string };

type Resource = { Type: string; Properties?: Record<string, unknown> | undefined };
type Resources = Record<string, Resource>;
type Statement = { Effect: string; Action: string | string[]; Resource: unknown; Condition?: unknown };
type Policy = { Roles?: { Ref: string }[]; PolicyDocument: { Statement: Statement[] } };

const LEADING_KEYS = { operator: 'ForAllValues:StringLike', key: 'dynamodb:LeadingKeys' } as const;
const list = <T>(value: T | T[]): T[] => (Array.isArray(value) ? value : [value]);

/** By role: a function's is named as in the table of functions, any other by its logical id without the hash. */
export function rightsOf(resources: Resources): Map<string, Right[]> {
  const rights = new Map<string, Right[]>();
  for (const id of idsOf(resources, 'AWS::IAM::Role')) rights.set(roleName(resources, id), []);
  for (const id of idsOf(resources, 'AWS::IAM::Policy')) {
    // CloudFormation's own shape of it; the id is one of these resources.
    const { Roles = [], PolicyDocument } = (resources[id] as Resource).Properties as Policy;
    for (const { Ref } of Roles) {
      const role = roleName(resources, Ref);
      rights.get(role)?.push(...PolicyDocument.Statement.flatMap((statement) => rightsIn(role, statement)));
    }
  }
  return rights;
}

function idsOf(resources: Resources, type: string): string[] {
  return Object.keys(resources).filter((id) => resources[id]?.Type === type);
}

function rightsIn(role: string, { Effect, Action, Resource, Condition }: Statement): Right[] {
  if (Effect !== 'Allow') throw new Error(`${role} has a statement that is no Allow`);
  const { [LEADING_KEYS.operator]: byKeys, ...others } = (Condition ?? {}) as Record<string, Record<string, string[]>>;
  const { [LEADING_KEYS.key]: leading, ...rest } = byKeys ?? {};
  if (Object.keys(others).length + Object.keys(rest).length > 0)
    throw new Error(`${role} has a condition that is not known here: ${JSON.stringify(Condition)}`);
  return list(Resource).flatMap((resource) => {
    const name = inWords(nameOf(resource), role);
    const narrowed = leading === undefined ? [name] : list(leading).map((key) => `${name} ${key}`);
    return narrowed.flatMap((each) => list(Action).map((action) => ({ action, resource: each })));
  });
}

/** An ARN's expression as one text: `${FilesBucket7C17EE2E}/inputs/*`. */
function nameOf(value: unknown): string {
  if (typeof value === 'string') return value;
  const [[name, argument] = []] = Object.entries(value as Record<string, unknown>);
  switch (name) {
    case 'Ref':
      return `\${${argument}}`;
    case 'Fn::GetAtt':
      return `\${${(argument as string[])[0]}}`;
    case 'Fn::Join':
      return (argument as [string, unknown[]])[1].map(nameOf).join((argument as [string])[0]);
    // A machine's name, cut out of its ARN.
    case 'Fn::Select':
      return nameOf((argument as [number, unknown])[1]);
    case 'Fn::Split':
      return nameOf((argument as [string, unknown])[1]);
    default:
      throw new Error(`A resource is named by ${name}`);
  }
}

function inWords(name: string, role: string): string {
  const plain = name
    .replace(/^arn:\$\{AWS::Partition\}:states:\$\{AWS::Region\}:\$\{AWS::AccountId\}:execution:/, 'executions of ')
    .replace(/^arn:\$\{AWS::Partition\}:s3:::/, 'foreign bucket ')
    .replaceAll(/\$\{(\w+?)[0-9A-F]{8}\}/g, '$1')
    .replace(/^RecordsTable/, 'table')
    .replace(/^FilesBucket/, 'bucket');
  // Each function has a log of its own: whoever writes into another's is seen by its name.
  return plain === `Functions${idOf(role)}Logs` ? 'its own log' : plain;
}

const idOf = (functionName: string) =>
  functionName.replace(/(^|\/)(.)/g, (_, __, letter: string) => letter.toUpperCase());

function roleName(resources: Resources, roleId: string): string {
  const owner = idsOf(resources, 'AWS::Lambda::Function')
    .map((id) => resources[id]?.Properties ?? {})
    .find(({ Role }) => (Role as { 'Fn::GetAtt': string[] })['Fn::GetAtt'][0] === roleId);
  return owner ? functionOf(owner) : roleId.slice(0, -'XXXXXXXX'.length);
}

/** `functions/<name>.ts` is each function's description. */
function functionOf(properties: Record<string, unknown>): string {
  return String(properties.Description).replace(/^functions\/|\.ts$/g, '');
}

/** The function whose logical id is in the name, as in the table of functions. Powertools adds a mark of its own to it. */
export function functionNamed(resources: Resources, name: string): string {
  const id = idsOf(resources, 'AWS::Lambda::Function').find((each) => name.includes(each));
  if (id === undefined) throw new Error(`The template has no function ${name}`);
  return functionOf(resources[id]?.Properties ?? {});
}

/** Whether a right allows what was done, its pattern taken as IAM does. */
export function allows(right: Right, done: Right): boolean {
  if (right.action !== done.action) return false;
  const pattern = right.resource.split('*').map((text) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${pattern.join('.*')}$`).test(done.resource);
}

/** `dynamodb:GetItem, dynamodb:PutItem on table PROJECT#*`, one line a resource. */
export function spelledOut(rights: Right[]): string[] {
  return [...Map.groupBy(rights, ({ resource }) => resource)]
    .map(([resource, same]) => `${[...new Set(same.map(({ action }) => action))].sort().join(', ')} on ${resource}`)
    .sort();
}
