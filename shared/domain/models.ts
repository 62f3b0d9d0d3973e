import * as z from 'zod';
import { MODEL_ENDPOINTS, type ModelEndpoint } from './modelEndpoints.ts';

/**
 * `models.json`: which providers, models and agents this deployment has. Checked when the stack is synthesized and
 * again when a function starts.
 */
const Name = z.string().min(1).max(256);

const OpenAiProvider = z.strictObject({
  kind: z.literal('openai'),
  /** Any OpenAI-compatible server, up to and with its version: `https://api.openai.com/v1`. */
  base_url: z.url({ protocol: /^https?$/ }),
  /** False for servers that want no key; else the stack makes a secret for it (see README "Configuration"). */
  api_key: z.boolean().default(true),
});

const SimulatorProvider = z.strictObject({
  kind: z.literal('simulator'),
  /** Milliseconds an answer takes: uniform between the two. */
  latency_ms: z.tuple([z.int().nonnegative(), z.int().nonnegative()]).default([0, 0]),
  /** Shares of calls answered with that fault, each in [0, 1]. */
  error_rates: z
    .strictObject({
      bad_request: z.number().min(0).max(1).default(0),
      rate_limited: z.number().min(0).max(1).default(0),
      server_error: z.number().min(0).max(1).default(0),
    })
    .prefault({}),
  seed: z.int().nonnegative().default(1),
  dimensions: z.int().positive().max(4096).default(64),
});

/** What the model takes, over all workers of all batches; what is not set is found out call by call. */
const ModelLimits = z
  .strictObject({
    requests_per_minute: z.int().positive().optional(),
    /** Of prompts and answers together. */
    tokens_per_minute: z.int().positive().optional(),
    calls_in_flight: z.int().positive().optional(),
  })
  .refine((limits) => Object.keys(limits).length > 0, {
    error: 'sets no limit; one of "requests_per_minute", "tokens_per_minute" and "calls_in_flight" is needed',
  });

export const ModelsFileSchema = z
  .strictObject({
    $schema: z.string().optional(),
    providers: z.record(Name, z.discriminatedUnion('kind', [OpenAiProvider, SimulatorProvider])),
    /** By the name that clients write into `body.model`. */
    models: z.record(
      Name,
      z.strictObject({
        provider: Name,
        /** The provider's own name for it. */
        model: Name,
        endpoints: z.array(z.enum(MODEL_ENDPOINTS)).min(1),
        limits: ModelLimits.optional(),
      }),
    ),
    /** By agent id; `"*"` is the agent for any other id. */
    agents: z
      .record(
        Name,
        z.strictObject({
          model: Name,
          instructions: z.string().optional(),
          temperature: z.number().min(0).max(2).optional(),
          max_output_tokens: z.int().positive().optional(),
          output_schema: z.record(z.string(), z.unknown()).optional(),
        }),
      )
      .default({}),
    /** The model that `/vectors` lines are embedded with. */
    vectors: z.strictObject({ model: Name }).optional(),
  })
  .superRefine((file, context) => {
    const issue = (path: PropertyKey[], message: string) => context.addIssue({ code: 'custom', path, message });
    const wants = (path: PropertyKey[], name: string, endpoint: ModelEndpoint) => {
      const model = Object.hasOwn(file.models, name) ? file.models[name] : undefined;
      if (!model) issue(path, `names the model "${name}", which is not under "models"`);
      else if (!model.endpoints.includes(endpoint))
        issue(path, `needs the model "${name}" to have the endpoint "${endpoint}"`);
    };
    for (const [name, model] of Object.entries(file.models)) {
      if (!Object.hasOwn(file.providers, model.provider))
        issue(['models', name, 'provider'], `names the provider "${model.provider}", which is not under "providers"`);
    }
    for (const [id, agent] of Object.entries(file.agents))
      wants(['agents', id, 'model'], agent.model, 'chat/completions');
    if (file.vectors) wants(['vectors', 'model'], file.vectors.model, 'embeddings');
  });
export type ModelsFile = z.infer<typeof ModelsFileSchema>;
export type ModelEntry = ModelsFile['models'][string];
export type AgentEntry = ModelsFile['agents'][string];
export type ProviderEntry = ModelsFile['providers'][string];

export function findModel(file: ModelsFile, name: string): ModelEntry | undefined {
  return Object.hasOwn(file.models, name) ? file.models[name] : undefined;
}

export function findAgent(file: ModelsFile, agentId: string): AgentEntry | undefined {
  if (Object.hasOwn(file.agents, agentId)) return file.agents[agentId];
  return Object.hasOwn(file.agents, '*') ? file.agents['*'] : undefined;
}
