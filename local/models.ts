import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ModelEndpoint } from '../shared/domain/modelEndpoints.ts';
import type { ModelsFile } from '../shared/domain/models.ts';
import { StartError } from './dataFolder.ts';
import type { FunctionPlan, SecretPlan } from './template/plan.ts';

/** An OpenAI-compatible server that the flags name. */
export type ModelServer = { url: string; model?: string | undefined; embeddingModel?: string | undefined };

/**
 * Writes a models file for one OpenAI-compatible server: its models go by their own names and by those of the shipped
 * `models.json` (`default`, `embedding`), and any agent and `/vectors` lines are mapped onto them. Without a model for
 * a kind of line, such lines are refused at validation.
 */
export function writeModelsFile(dataDir: string, server: ModelServer, wantsKey: boolean): string {
  const { url, model, embeddingModel } = server;
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new StartError(`--model-url ${url} is not an http or https URL, such as http://127.0.0.1:11434/v1`);
  }
  if (model === undefined && embeddingModel === undefined) {
    throw new StartError('--model-url needs --model NAME, --embedding-model NAME, or both');
  }
  const provider = 'server';
  const endpoints = new Map<string, ModelEndpoint[]>();
  if (model !== undefined) endpoints.set(model, ['chat/completions', 'completions', 'responses']);
  if (embeddingModel !== undefined) {
    // One name may stand for both.
    endpoints.set(embeddingModel, [...(endpoints.get(embeddingModel) ?? []), 'embeddings']);
  }
  const entry = (name: string) => ({ provider, model: name, endpoints: endpoints.get(name) ?? [] });
  const file: ModelsFile = {
    providers: { [provider]: { kind: 'openai', base_url: url.replace(/\/+$/, ''), api_key: wantsKey } },
    models: {
      ...(model === undefined ? {} : { default: entry(model) }),
      ...(embeddingModel === undefined ? {} : { embedding: entry(embeddingModel) }),
      ...Object.fromEntries([...endpoints.keys()].map((name) => [name, entry(name)])),
    },
    agents: model === undefined ? {} : { '*': { model } },
    ...(embeddingModel === undefined ? {} : { vectors: { model: embeddingModel } }),
  };
  const path = join(dataDir, 'models.json');
  writeFileSync(path, `${JSON.stringify(file, null, 2)}\n`);
  return path;
}

/** What a models file answers lines with, for people. The file was checked when the stack was synthesized. */
export function describeModels(path: string): string {
  const { providers } = JSON.parse(readFileSync(path, 'utf8')) as ModelsFile;
  const servers = Object.values(providers).flatMap((provider) =>
    provider.kind === 'openai' ? [provider.base_url] : [],
  );
  return servers.length === 0 ? 'simulated models' : `models of ${[...new Set(servers)].join(', ')}`;
}

/**
 * Gives the secrets of model providers their values: from `MODEL_API_KEY_<PROVIDER>`, or else `MODEL_API_KEY`. Which
 * secret is which provider's stands in the template, in the functions' own variable.
 */
export function fillModelKeys(
  secrets: readonly SecretPlan[],
  functions: readonly FunctionPlan[],
  environment: Record<string, string | undefined>,
): SecretPlan[] {
  const values = new Map<string, string>();
  for (const { environment: variables } of functions) {
    const named: Record<string, string> = JSON.parse(variables.MODEL_KEY_SECRETS ?? '{}');
    for (const [provider, arn] of Object.entries(named)) {
      const own = `MODEL_API_KEY_${provider.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}`;
      const value = environment[own] ?? environment.MODEL_API_KEY;
      if (value === undefined || value === '')
        throw new StartError(
          `The provider "${provider}" of the models file wants a key. Set ${own} or MODEL_API_KEY, or say "api_key": false there.`,
        );
      values.set(arn, value);
    }
  }
  return secrets.map((secret) => {
    const value = values.get(secret.arn);
    return value === undefined ? secret : { ...secret, value, generate: undefined };
  });
}
