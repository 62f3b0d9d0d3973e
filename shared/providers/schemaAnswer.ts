/**
 * A JSON value that satisfies a JSON schema, for the simulator: `type`, `properties`, `required`, `enum`, `const`,
 * `items`, `anyOf`/`oneOf` (the first), `allOf` (merged), local `$ref`, and the simple bounds. The same schema, text and
 * numbers give the same value. Strings say that they are simulated.
 */
export function answerSchema(schema: unknown, text: string, next: () => number): unknown {
  return valueFor(schema, { root: schema, text, next }, 0);
}

type Context = { root: unknown; text: string; next: () => number };
type Schema = Record<string, unknown>;

/** Recursive schemas end here: what is optional is left out, what is not becomes null. */
const MAX_DEPTH = 12;

function valueFor(given: unknown, context: Context, depth: number): unknown {
  const schema = resolve(given, context.root);
  if (schema === undefined || depth > MAX_DEPTH) return given === true ? context.text : null;
  if ('const' in schema) return schema.const;
  if (Array.isArray(schema.enum) && schema.enum.length > 0) return pick(schema.enum, context.next);
  const options = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(options) && options.length > 0) return valueFor(options[0], context, depth + 1);
  if (Array.isArray(schema.allOf) && schema.allOf.length > 0)
    return valueFor(merge(schema, schema.allOf, context.root), context, depth + 1);
  switch (typeOf(schema)) {
    case 'object':
      return objectFor(schema, context, depth);
    case 'array':
      return arrayFor(schema, context, depth);
    case 'integer':
      return numberFor(schema, context.next, true);
    case 'number':
      return numberFor(schema, context.next, false);
    case 'boolean':
      return context.next() < 0.5;
    case 'null':
      return null;
    default:
      return stringFor(schema, context.text);
  }
}

function objectFor(schema: Schema, context: Context, depth: number): Record<string, unknown> {
  const properties = isObject(schema.properties) ? schema.properties : {};
  const required = Array.isArray(schema.required) ? schema.required.filter((name) => typeof name === 'string') : [];
  // Deep down only what must be there is made, so that a schema that refers to itself comes to an end.
  const names = depth < MAX_DEPTH / 2 ? new Set([...Object.keys(properties), ...required]) : new Set(required);
  const value: Record<string, unknown> = {};
  for (const name of names) {
    const property = Object.hasOwn(properties, name) ? properties[name] : true;
    // Assigning to `__proto__` would set the prototype instead.
    Object.defineProperty(value, name, {
      value: valueFor(property, context, depth + 1),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return value;
}

function arrayFor(schema: Schema, context: Context, depth: number): unknown[] {
  const prefix = Array.isArray(schema.prefixItems) ? schema.prefixItems : [];
  const least = whole(schema.minItems) ?? 0;
  const most = whole(schema.maxItems) ?? Number.POSITIVE_INFINITY;
  const wanted = depth < MAX_DEPTH / 2 ? Math.max(least, prefix.length, 1) : least;
  return Array.from({ length: Math.min(wanted, most, 1_000) }, (_, index) =>
    valueFor(prefix[index] ?? schema.items ?? true, context, depth + 1),
  );
}

function numberFor(schema: Schema, next: () => number, integer: boolean): number {
  const step = integer ? 1 : 0.5;
  const above = number(schema.exclusiveMinimum);
  const below = number(schema.exclusiveMaximum);
  const least = number(schema.minimum) ?? (above === undefined ? undefined : above + step);
  const most = number(schema.maximum) ?? (below === undefined ? undefined : below - step);
  const low = least ?? (most === undefined ? 0 : most - 100);
  const high = most ?? low + 100;
  const drawn = low + next() * (high - low);
  const multiple = number(schema.multipleOf);
  if (multiple !== undefined && multiple > 0) return Math.ceil(low / multiple) * multiple;
  return integer ? Math.min(Math.ceil(drawn), Math.floor(high)) : drawn;
}

const FORMATS: Record<string, string> = {
  'date-time': '2025-01-01T00:00:00Z',
  date: '2025-01-01',
  time: '00:00:00Z',
  email: 'simulated@example.com',
  uri: 'https://example.com/simulated',
  uuid: '00000000-0000-4000-8000-000000000000',
};

function stringFor(schema: Schema, text: string): string {
  const format = typeof schema.format === 'string' ? FORMATS[schema.format] : undefined;
  if (format !== undefined) return format;
  const least = whole(schema.minLength) ?? 0;
  const most = whole(schema.maxLength) ?? Number.POSITIVE_INFINITY;
  return text.padEnd(Math.min(least, 100_000), '.').slice(0, most);
}

function typeOf(schema: Schema): unknown {
  const type = Array.isArray(schema.type) ? schema.type.find((name) => name !== 'null') : schema.type;
  if (type !== undefined) return type;
  if ('properties' in schema || 'required' in schema) return 'object';
  return 'items' in schema || 'prefixItems' in schema ? 'array' : 'string';
}

/** Follows `#/…` references; undefined where the schema is `true`, `false` or points nowhere. */
function resolve(given: unknown, root: unknown): Schema | undefined {
  let schema = given;
  for (let hop = 0; hop < MAX_DEPTH && isObject(schema) && typeof schema.$ref === 'string'; hop++) {
    if (!schema.$ref.startsWith('#')) return undefined;
    let target = root;
    for (const step of schema.$ref.slice(1).split('/').slice(1)) {
      const name = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~');
      target = isObject(target) && Object.hasOwn(target, name) ? target[name] : undefined;
    }
    schema = target;
  }
  return isObject(schema) ? schema : undefined;
}

function merge(schema: Schema, parts: unknown[], root: unknown): Schema {
  const { allOf: _, ...merged } = schema;
  for (const part of parts) {
    const resolved = resolve(part, root);
    if (!resolved) continue;
    const properties = { ...asObject(merged.properties), ...asObject(resolved.properties) };
    const required = [...asArray(merged.required), ...asArray(resolved.required)];
    Object.assign(merged, resolved, { properties, required });
  }
  return merged;
}

function pick(values: unknown[], next: () => number): unknown {
  return values[Math.floor(next() * values.length)];
}

const number = (value: unknown) => (typeof value === 'number' ? value : undefined);
const whole = (value: unknown) => (Number.isInteger(value) ? Number(value) : undefined);
const asObject = (value: unknown) => (isObject(value) ? value : {});
const asArray = (value: unknown) => (Array.isArray(value) ? value : []);

function isObject(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
