/**
 * CloudFormation's intrinsic functions, resolved to local values. What is not known here is an error that names the
 * function and where it stands; nothing is passed through as it is.
 */
export class TemplateError extends Error {
  override readonly name = 'TemplateError';
}

export type JsonObject = Record<string, unknown>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What names stand for: a logical id's `Ref`, its attributes, and the values of the template's own sections. */
export type Names = {
  /** `Ref`: the local name of a resource, a pseudo parameter's or a parameter's value. Undefined where there is none. */
  ref(name: string): unknown;
  /** `Fn::GetAtt`. Undefined where the resource has no such attribute here. */
  attribute(logicalId: string, attribute: string): unknown;
  /** The text of a condition, from the template's `Conditions`. */
  condition(name: string): unknown;
  mapping(map: string, top: string, second: string): unknown;
};

/** Stands for `AWS::NoValue`: the property that holds it is left out. */
const NO_VALUE = Symbol('AWS::NoValue');

/** Resolves `value`; `where` (logical id and property) is named in errors. */
export function resolveValue(value: unknown, names: Names, where: string): unknown {
  const resolved = resolve(value, names, where);
  return resolved === NO_VALUE ? undefined : resolved;
}

function resolve(value: unknown, names: Names, where: string): unknown {
  if (Array.isArray(value)) {
    return value.map((entry) => resolve(entry, names, where)).filter((entry) => entry !== NO_VALUE);
  }
  if (!isObject(value)) return value;
  const keys = Object.keys(value);
  const [only] = keys;
  if (keys.length === 1 && only !== undefined && (only === 'Ref' || only === 'Condition' || only.startsWith('Fn::'))) {
    // `Condition` is a function only where a condition is meant; elsewhere (an IAM statement) it is a plain key.
    if (only !== 'Condition') return resolveFunction(only, value[only], names, where);
  }
  const resolved: JsonObject = {};
  for (const [key, entry] of Object.entries(value)) {
    const inner = resolve(entry, names, `${where}.${key}`);
    if (inner !== NO_VALUE) resolved[key] = inner;
  }
  return resolved;
}

function resolveFunction(name: string, argument: unknown, names: Names, where: string): unknown {
  const text = (value: unknown): string => {
    const resolved = resolve(value, names, where);
    if (typeof resolved === 'string') return resolved;
    if (typeof resolved === 'number' || typeof resolved === 'boolean') return String(resolved);
    throw new TemplateError(`${name} in ${where} needs a string, got ${JSON.stringify(resolved)}`);
  };
  const list = (value: unknown): unknown[] => {
    const resolved = resolve(value, names, where);
    if (Array.isArray(resolved)) return resolved;
    throw new TemplateError(`${name} in ${where} needs a list, got ${JSON.stringify(resolved)}`);
  };
  const part = (index: number): unknown => {
    if (Array.isArray(argument) && index < argument.length) return argument[index];
    throw new TemplateError(`${name} in ${where} lacks its argument ${index + 1}`);
  };
  switch (name) {
    case 'Ref':
      return reference(text(argument), names, where);
    case 'Fn::GetAtt': {
      const [logicalId, attribute] =
        typeof argument === 'string' ? splitOnce(argument, '.') : [text(part(0)), text(part(1))];
      return getAttribute(logicalId, attribute, names, where);
    }
    case 'Fn::Join':
      return list(part(1))
        .map(text)
        .join(text(part(0)));
    case 'Fn::Split':
      return text(part(1)).split(text(part(0)));
    case 'Fn::Select': {
      const index = Number(text(part(0)));
      const chosen = list(part(1))[index];
      if (chosen === undefined) throw new TemplateError(`Fn::Select in ${where} has no entry ${index}`);
      return chosen;
    }
    case 'Fn::Sub':
      return typeof argument === 'string'
        ? substitute(argument, {}, names, where)
        : substitute(text(part(0)), part(1) as JsonObject, names, where);
    case 'Fn::If':
      return resolve(isTrue(names.condition(text(part(0))), names, where) ? part(1) : part(2), names, where);
    case 'Fn::FindInMap': {
      const found = names.mapping(text(part(0)), text(part(1)), text(part(2)));
      if (found === undefined) throw new TemplateError(`Fn::FindInMap in ${where} finds nothing`);
      return found;
    }
    case 'Fn::Base64':
      return Buffer.from(text(argument)).toString('base64');
    default:
      throw new TemplateError(`The local run does not know the function ${name}, in ${where}`);
  }
}

function splitOnce(value: string, separator: string): [string, string] {
  const at = value.indexOf(separator);
  return at < 0 ? [value, ''] : [value.slice(0, at), value.slice(at + separator.length)];
}

function reference(name: string, names: Names, where: string): unknown {
  if (name === 'AWS::NoValue') return NO_VALUE;
  const found = names.ref(name);
  if (found === undefined) throw new TemplateError(`Ref to ${name} in ${where}: it has no value in the local run`);
  return found;
}

function getAttribute(logicalId: string, attribute: string, names: Names, where: string): unknown {
  const found = names.attribute(logicalId, attribute);
  if (found === undefined) {
    throw new TemplateError(`Fn::GetAtt ${logicalId}.${attribute} in ${where}: it has no value in the local run`);
  }
  return found;
}

/** `${Name}`, `${Id.Attribute}` and `${!Literal}` of Fn::Sub. */
function substitute(pattern: string, own: JsonObject, names: Names, where: string): string {
  return pattern.replace(/\$\{([^}]*)\}/g, (_, inner: string) => {
    if (inner.startsWith('!')) return `\${${inner.slice(1)}}`;
    const name = inner.trim();
    if (Object.hasOwn(own, name)) return String(resolve(own[name], names, where));
    if (!name.includes('.')) return String(reference(name, names, where));
    return String(getAttribute(...splitOnce(name, '.'), names, where));
  });
}

/** Evaluates a condition: Fn::Equals, Fn::And, Fn::Or, Fn::Not, or the name of another one. */
export function isTrue(condition: unknown, names: Names, where: string): boolean {
  if (!isObject(condition)) throw new TemplateError(`${where}: ${JSON.stringify(condition)} is no condition`);
  const [name = ''] = Object.keys(condition);
  const argument = condition[name];
  if (name === 'Condition') return isTrue(names.condition(String(argument)), names, String(argument));
  if (!Array.isArray(argument)) throw new TemplateError(`${name} in ${where} needs a list`);
  switch (name) {
    case 'Fn::Equals':
      return (
        JSON.stringify(resolveValue(argument[0], names, where)) ===
        JSON.stringify(resolveValue(argument[1], names, where))
      );
    case 'Fn::And':
      return argument.every((entry) => isTrue(entry, names, where));
    case 'Fn::Or':
      return argument.some((entry) => isTrue(entry, names, where));
    case 'Fn::Not':
      return !isTrue(argument[0], names, where);
    default:
      throw new TemplateError(`The local run does not know the condition function ${name}, in ${where}`);
  }
}
