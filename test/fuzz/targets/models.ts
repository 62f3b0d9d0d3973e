import { ModelsFileSchema } from '../../../shared/domain/models.ts';

export const models = ModelsFileSchema.parse({
  providers: { local: { kind: 'simulator' } },
  models: {
    default: {
      provider: 'local',
      model: 'its "own" name',
      endpoints: ['chat/completions', 'completions', 'responses'],
    },
    embedding: { provider: 'local', model: 'vec', endpoints: ['embeddings'] },
  },
  agents: { '*': { model: 'default', instructions: 'Say {{word}}.' }, json: { model: 'default', output_schema: {} } },
  vectors: { model: 'embedding' },
});
