import type { ModelsFile } from '../domain/models.ts';
import type { ModelProvider, ModelProviders } from '../ports.ts';
import { createOpenAiProvider } from './openai.ts';
import { createSimulator } from './simulator.ts';

export type ModelKeys = { get(provider: string, refused?: string): Promise<string | undefined> };

/** The providers of `models.json`, each made when it is first asked for and kept (with its connections) from then on. */
export function createModelProviders({
  models,
  keys,
  maxSockets,
}: {
  models: ModelsFile;
  keys: ModelKeys;
  /** Connections to one provider. A Lambda sandbox has 1,024 file descriptors: at most 300. */
  maxSockets: number;
}): ModelProviders {
  const made = new Map<string, ModelProvider>();

  function make(name: string): ModelProvider {
    const entry = Object.hasOwn(models.providers, name) ? models.providers[name] : undefined;
    if (!entry) throw new Error(`models.json has no provider "${name}"`);
    switch (entry.kind) {
      case 'openai':
        return createOpenAiProvider({
          baseUrl: entry.base_url,
          apiKey: entry.api_key ? (refused) => keys.get(name, refused) : undefined,
          maxSockets,
        });
      case 'simulator':
        return createSimulator(entry);
    }
  }

  return {
    get(name) {
      const provider = made.get(name) ?? make(name);
      made.set(name, provider);
      return provider;
    },
  };
}
