/** The four calls of OpenAI's dialect that lines can ask for: the path after the provider's base URL. */
export const MODEL_ENDPOINTS = ['chat/completions', 'completions', 'responses', 'embeddings'] as const;
export type ModelEndpoint = (typeof MODEL_ENDPOINTS)[number];
