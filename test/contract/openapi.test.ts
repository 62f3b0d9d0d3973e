import { describe, expect, it } from 'vitest';
import { openApi } from '../../shared/contract/openapi.ts';
import { type Route, routes } from '../../shared/contract/routes.ts';
import { SettingsSchema } from '../../shared/contract/settings.ts';

type Operation = {
  operationId: string;
  parameters: { name: string; in: string; required: boolean }[];
  requestBody?: { required: boolean; content: { 'application/json': { schema: unknown } } };
  responses: Record<string, unknown>;
  security: Record<string, unknown>[];
};
type Document = {
  openapi: string;
  info: { version: string };
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, unknown>; securitySchemes: Record<string, unknown> };
};

// What is served is JSON: the round trip is part of the matter.
const document = JSON.parse(JSON.stringify(openApi(SettingsSchema.parse({}), '1.2.3'))) as Document;
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
);

function* nodes(value: unknown): Generator<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) yield value as Record<string, unknown>;
  for (const child of Object.values(value)) yield* nodes(child);
}

/** What a node means: a reference is followed to its end; undefined where that leads nowhere, or in a circle. */
function resolve(node: unknown, seen: readonly string[] = []): unknown {
  const ref = typeof node === 'object' && node !== null && '$ref' in node ? node.$ref : undefined;
  if (ref === undefined) return node;
  if (typeof ref !== 'string' || !ref.startsWith('#/') || seen.includes(ref)) return undefined;
  const path = ref.slice(2).split('/');
  const found = path.reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], document);
  return resolve(found, [...seen, ref]);
}

describe('the OpenAPI document', () => {
  it('is OpenAPI 3.1 of this version', () => {
    expect(document.openapi).toBe('3.1.0');
    expect(document.info.version).toBe('1.2.3');
  });

  it('has every route of the table and no other', () => {
    const described = operations.map(({ path, method, operation }) => `${operation.operationId} ${method} ${path}`);
    expect(described.sort()).toEqual(
      Object.entries(routes)
        .map(([name, { method, path }]) => `${name} ${method} ${path}`)
        .sort(),
    );
  });

  it('says of every route of projects that quotas hold, and when to come again', () => {
    const limited = operations.filter(({ operation }) => '429' in operation.responses);
    const ofProjects = Object.entries<Route>(routes).filter(([, { caller }]) => caller === 'project');
    expect(limited.map(({ operation }) => operation.operationId).sort()).toEqual(
      ofProjects.map(([name]) => name).sort(),
    );
    for (const { operation } of limited)
      expect(resolve(operation.responses['429'])).toMatchObject({
        headers: { 'Retry-After': { schema: { type: 'integer' } } },
      });
  });

  it('refers to nothing that is not in it', () => {
    const broken = [...nodes(document)].filter((node) => '$ref' in node && resolve(node) === undefined);
    expect(broken).toEqual([]);
  });

  it('has a type under the name of each schema, never one more name', () => {
    const schemas = Object.values(document.components.schemas);
    expect(schemas.length).toBeGreaterThan(0);
    for (const schema of schemas) expect(resolve(schema)).toHaveProperty('type', 'object');
  });

  it('lets answers grow, and requests hold nothing unknown', () => {
    const closed = (value: unknown) => [...nodes(value)].filter((node) => node.additionalProperties === false);
    expect(closed(document.components)).toEqual([]);
    for (const { operation } of operations) {
      expect(closed(operation.responses)).toEqual([]);
      const { requestBody } = operation;
      if (requestBody)
        expect(requestBody.content['application/json'].schema).toHaveProperty('additionalProperties', false);
    }
  });

  it('declares each parameter of each path', () => {
    for (const { path, operation } of operations) {
      const inPath = operation.parameters.filter((parameter) => parameter.in === 'path');
      expect(inPath.every((parameter) => parameter.required)).toBe(true);
      expect(inPath.map(({ name }) => `{${name}}`)).toEqual(path.match(/\{\w+\}/g) ?? []);
    }
  });

  it('says who may call what, and which errors they may meet', () => {
    for (const { operation } of operations) {
      const schemes = operation.security.flatMap((scheme) => Object.keys(scheme));
      expect(schemes.every((scheme) => scheme in document.components.securitySchemes)).toBe(true);
      expect('401' in operation.responses).toBe(schemes.length > 0);
      expect(Object.keys(operation.responses)).toContain('500');
    }
  });

  it('says whose tokens open it, where there is an issuer', () => {
    const described = (settings: object) => {
      const { components } = openApi(SettingsSchema.parse(settings), '1.2.3') as unknown as Document;
      return (components.securitySchemes.project as { description: string }).description;
    };
    expect(described({})).toBe('An API key (plai_…).');
    const tokens = { issuer: 'https://issuer.example/', jwksUrl: 'https://issuer.example/jwks', audience: 'batch-api' };
    const text = described({ tokens: { ...tokens, projectClaim: 'https://acme.example/project' } });
    for (const part of [tokens.issuer, tokens.audience, 'https://acme.example/project', 'role', 'ES256'])
      expect(text).toContain(part);
  });

  it('says which route does without its body', () => {
    const optional = operations.filter(({ operation }) => operation.requestBody?.required === false);
    expect(optional.map(({ operation }) => operation.operationId)).toEqual(['retryBatch']);
  });

  it('shows the same limits that requests are checked by', () => {
    expect(document.paths['/batches']?.get?.parameters).toContainEqual(
      expect.objectContaining({
        name: 'take',
        in: 'query',
        required: false,
        schema: { type: 'integer', minimum: 1, maximum: 100, default: 100 },
      }),
    );
  });
});
