import * as z from 'zod';
import type { ModelEndpoint } from '../modelEndpoints.ts';
import { type CodedIssue, nameKind } from './lineProblem.ts';
import { isDeeperThan, MAX_DEPTH } from './nesting.ts';

/**
 * What the bodies of request lines hold, by endpoint (CONTRACT "Input lines"). The schemas are the types; a `null` in
 * an optional field counts as left out, since clients serialize absent fields that way.
 */

const coded = (code: CodedIssue['code'], message: string) => ({
  code: 'custom' as const,
  message,
  params: { code } satisfies CodedIssue,
});

/** Absent, null or false; true asks for what a batch cannot do. */
const neverTrue = (why: string) =>
  z
    .unknown()
    .superRefine((value, context) => {
      if (value === undefined || value === null || value === false) return;
      context.addIssue(
        value === true
          ? coded('unsupported_parameter', why)
          : coded('invalid_type', `must be false or left out, not ${nameKind(value)}`),
      );
    })
    .optional();

/** What only PLai itself can do. An empty list or object asks for nothing, so it is let through. */
const onlyOnPlai = z
  .unknown()
  .superRefine((value, context) => {
    const empty = typeof value === 'object' && (value === null || Object.keys(value).length === 0);
    if (value !== undefined && !empty)
      context.addIssue(
        coded('unsupported_parameter', 'is not supported: the provider of this model cannot do it. Leave it out'),
      );
  })
  .optional();

const jsonSchemaText = z.string().superRefine((text, context) => {
  const schema = parseObject(text);
  if (schema === undefined)
    context.addIssue(coded('invalid_value', 'must be a string that holds a JSON schema, a JSON object'));
  // In a string, where the depth of the line says nothing of it.
  else if (isDeeperThan(schema, MAX_DEPTH))
    context.addIssue(coded('invalid_value', `is nested deeper than ${MAX_DEPTH} levels`));
});

/** The JSON object in a text, or undefined. */
export function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    // JSON.parse makes plain objects: every key of it is a string.
    return isObject(value) ? (value as Record<string, unknown>) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * PLai's pages say only "array": taken are `{ "name", "value" }` and `{ "key", "value" }`, whose values replace
 * `{{name}}` in the agent's instructions.
 */
const Variable = z
  .strictObject({
    name: z.string().nullish(),
    key: z.string().nullish(),
    value: z.union([z.string(), z.number(), z.boolean()], { error: 'must be a string, a number, true or false' }),
  })
  .superRefine((variable, context) => {
    if (!(variable.name ?? variable.key))
      context.addIssue(coded('invalid_value', 'needs a "name" (or "key") that is not empty, and a "value"'));
  });

const DocumentUrl = z.string().refine((url) => /^(https?:\/\/[^\s/]|data:[^\s,]*,)/i.test(url), {
  error: 'must be an http://, https:// or data: URL',
});

const AgentBodySchema = z.strictObject({
  input: z.string(),
  show_tool_calls: neverTrue('is not supported: the provider of this model calls no tools by itself'),
  enable_streaming: neverTrue('is not supported: a batch answers each line as a whole'),
  stream: neverTrue('is not supported: a batch answers each line as a whole'),
  output_schema: jsonSchemaText.nullish(),
  variables: z.array(Variable).nullish(),
  documents: z
    .array(
      z.strictObject({
        type: z.enum(['image', 'pdf'], { error: 'must be "image" or "pdf"' }),
        url: DocumentUrl,
        title: z.string().nullish(),
      }),
    )
    .nullish(),
  thread_id: onlyOnPlai,
  enabled_tools: onlyOnPlai,
  metadata_filter: onlyOnPlai,
});
export type AgentBody = z.infer<typeof AgentBodySchema>;

const VectorItem = z
  .strictObject({
    id: z.string(),
    values: z.array(z.number()),
    metadata: z.looseObject({ text: z.unknown().optional() }).nullish(),
  })
  .superRefine((item, context) => {
    // Only an item without values is embedded, and only then is there need of a text.
    if (item.values.length > 0) return;
    const text = item.metadata?.text;
    const path = ['metadata', 'text'];
    if (text === undefined || typeof text === 'string') {
      if (!text)
        context.addIssue({ ...coded('invalid_value', 'is empty: there is nothing to embed'), path, input: text });
    } else context.addIssue({ ...coded('invalid_type', `must be a string, not ${nameKind(text)}`), path });
  });
export type VectorItem = z.infer<typeof VectorItem>;

const VectorsBodySchema = z.strictObject({
  vectors: z.array(VectorItem).min(1, { error: 'is empty: it must hold at least one vector' }),
  stream: neverTrue('is not supported: a batch answers each line as a whole'),
});
export type VectorsBody = z.infer<typeof VectorsBodySchema>;

const textOrList = z.unknown().superRefine((value, context) => {
  if (typeof value === 'string' || Array.isArray(value)) {
    if (value.length === 0) context.addIssue(coded('invalid_value', 'is empty'));
  } else context.addIssue(coded('invalid_type', `must be a string or an array, not ${nameKind(value)}`));
});

const openAi = {
  model: z.string().min(1, { error: 'is empty: it must name a model' }),
  stream: neverTrue('is not supported: a batch answers each line as a whole'),
};

/** Just what has to be right for the call to make sense: the rest is the provider's to judge. */
const OPENAI_BODY_SCHEMAS = {
  'chat/completions': z.looseObject({
    ...openAi,
    messages: z.array(z.looseObject({ role: z.string() })).min(1, { error: 'is empty: it must hold a message' }),
  }),
  completions: z.looseObject({ ...openAi, prompt: textOrList }),
  responses: z
    .looseObject({
      ...openAi,
      input: z.unknown().optional(),
      background: neverTrue('is not supported: its answer would be fetched later, and a batch does not'),
    })
    .superRefine((body, context) => {
      // OpenAI takes a stored prompt in place of an input.
      if (body.input === undefined && isObject(body.prompt)) return;
      const input = textOrList.safeParse(body.input);
      for (const issue of input.error?.issues ?? [])
        if (issue.code === 'custom') context.addIssue({ ...issue, path: ['input'] });
    }),
  embeddings: z.looseObject({ ...openAi, input: textOrList }),
} as const satisfies Record<ModelEndpoint, z.ZodType>;

export const BODY_SCHEMAS = {
  agent: AgentBodySchema,
  vectors: VectorsBodySchema,
  ...OPENAI_BODY_SCHEMAS,
} as const;
