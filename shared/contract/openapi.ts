import * as z from 'zod';
import { ROLES } from '../domain/roles.ts';
import { apiOf, isOptional } from './api.ts';
import { ErrorView } from './errorView.ts';
import { type Route, type RouteName, routes } from './routes.ts';
import type { Settings } from './settings.ts';

type Json = Record<string, unknown>;

/** Where the schemas that have an id of their own are found. */
const COMPONENTS = '#/components/schemas/';

/** Statuses that a route can answer beside its own, by what it is. */
function errorStatuses(route: Route, exchange: { body: z.ZodType | undefined; conflict: boolean }): number[] {
  return [
    400,
    ...(route.caller === 'anyone' ? [] : [401]),
    ...(route.access === 'manage' ? [403] : []),
    ...(route.path.includes('{') ? [404] : []),
    ...(exchange.conflict ? [409] : []),
    ...(exchange.body ? [413, 415] : []),
    ...(route.caller === 'project' ? [429] : []),
    500,
  ];
}

const CONFLICTS: readonly RouteName[] = ['createBatch', 'cancelBatch', 'retryBatch', 'downloadBatch', 'getReceipt'];

/** The contract as OpenAPI 3.1, made from the table of routes and the schemas that check requests and answers. */
export function openApi(settings: Settings, version: string): { openapi: string } & Json {
  const api = apiOf(settings);
  const schemas: Json = {};
  const schemaOf = (schema: z.ZodType, io: 'input' | 'output') => toSchema(schema, io, schemas);
  const paths: Record<string, Json> = {};

  for (const [name, route] of Object.entries<Route>(routes)) {
    // The keys of `routes` are the route names.
    const routeName = name as RouteName;
    const exchange = api[routeName];
    const answers = Object.entries<z.ZodType>(exchange.answers).map(([status, schema]) => [
      status,
      { description: status === '201' ? 'Made.' : 'As asked.', content: json(schemaOf(schema, 'output')) },
    ]);
    const errors = errorStatuses(route, { body: exchange.body, conflict: CONFLICTS.includes(routeName) }).map(
      (status) => [String(status), { $ref: `#/components/responses/Error${status}` }],
    );
    const operation: Json = {
      operationId: name,
      summary: exchange.summary,
      security: route.caller === 'anyone' ? [] : [{ [route.caller]: [] }],
      parameters: [
        ...parameters('path', exchange.params),
        ...parameters('query', exchange.query),
        ...parameters('header', exchange.headers),
      ],
      ...(exchange.body
        ? { requestBody: { required: !isOptional(exchange.body), content: json(schemaOf(exchange.body, 'input')) } }
        : {}),
      responses: Object.fromEntries([...answers, ...errors]),
    };
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operation };
  }

  const errorSchema = schemaOf(ErrorView, 'output');
  return {
    openapi: '3.1.0',
    info: {
      title: 'Batch API',
      version,
      description: 'Runs JSONL files of model requests as batches: lines in, lines out, in order.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      schemas,
      responses: Object.fromEntries(
        Object.entries(ERROR_TEXTS).map(([status, description]) => [
          `Error${status}`,
          { description, ...(status === '429' ? RETRY_AFTER : {}), content: json(errorSchema) },
        ]),
      ),
      securitySchemes: {
        project: { type: 'http', scheme: 'bearer', description: describeTokens(settings) },
        operator: { type: 'apiKey', in: 'header', name: 'Users-Management-Key' },
      },
    },
  };
}

const RETRY_AFTER = { headers: { 'Retry-After': { description: 'Seconds.', schema: { type: 'integer' } } } };

const ERROR_TEXTS = {
  400: 'The request is not valid; `details` names each field.',
  401: 'No token, or one that is invalid or expired.',
  403: 'The role does not allow it.',
  404: 'No such thing in this project.',
  409: 'The status, or an earlier request, does not allow it.',
  413: 'The body is too large.',
  415: 'The body is not JSON by its type.',
  429: 'A quota of the project is used up; `message` names it and what to do. `retry_after` and Retry-After say when to come again.',
  500: 'Our fault.',
};

const json = (schema: Json) => ({ 'application/json': { schema } });

/**
 * JSON Schema 2020-12, which OpenAPI 3.1 takes as it is; schemas with an id are collected in `schemas`. Answers are left
 * open: a client must bear a field that a later version adds.
 */
function toSchema(schema: z.ZodType, io: 'input' | 'output', schemas: Json): Json {
  const id = schema.meta()?.id;
  const made = z.toJSONSchema(schema, {
    target: 'draft-2020-12',
    io,
    reused: 'inline',
    override: ({ jsonSchema }) => {
      if (io === 'output' && jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
    },
  });
  // The definitions refer to each other as well, so the whole text is rewritten.
  const text = JSON.stringify(made).replaceAll('"#/$defs/', `"${COMPONENTS}`);
  const { $schema, $defs = {}, id: _id, ...body } = JSON.parse(text) as Json & { $defs?: Record<string, Json> };
  void $schema;
  for (const [name, { id: _, ...definition }] of Object.entries($defs)) schemas[name] = definition;
  if (id === undefined) return body;
  // Where the id has made it a definition already, the body only refers to that.
  schemas[id] ??= body;
  return { $ref: `${COMPONENTS}${id}` };
}

/** The fields of an object schema as parameters. Values in URLs are text: what counts is what they are parsed to. */
function parameters(place: 'path' | 'query' | 'header', schema: z.ZodType): Json[] {
  const { properties = {} } = z.toJSONSchema(schema, { io: 'output', target: 'draft-2020-12' }) as {
    properties?: Record<string, Json>;
  };
  const { required = [] } = z.toJSONSchema(schema, { io: 'input', target: 'draft-2020-12' }) as {
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...body }]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    ...(description === undefined ? {} : { description }),
    schema: body,
  }));
}

function describeTokens({ tokens }: Settings): string {
  const key = 'An API key (plai_…)';
  if (tokens === undefined) return `${key}.`;
  return (
    `${key}, or a token (JWT, RS256 or ES256) of ${tokens.issuer} for the audience ${tokens.audience}, with the ` +
    `project's id in the claim ${tokens.projectClaim} and the role (${ROLES.join(', ')}) in ${tokens.roleClaim}.`
  );
}
