import { describe, expect, test } from 'vitest';
import { createTokenEstimate } from '../../../shared/domain/retry/tokenEstimate.ts';

const call = (body: Record<string, unknown>, endpoint = 'chat/completions') => ({ endpoint, body });

describe('the estimate of tokens', () => {
  test('is the text and the most that may be answered, by whatever name the request gives it', () => {
    const text = call({ input: 'x'.repeat(4_000) }, 'embeddings');
    expect(createTokenEstimate().of(text)).toBeCloseTo(1_003, -1);
    for (const name of ['max_tokens', 'max_completion_tokens', 'max_output_tokens'])
      expect(createTokenEstimate().of(call({ input: 'x'.repeat(4_000), [name]: 200 }))).toBeCloseTo(1_207, -1);
    expect(createTokenEstimate().of(call({ messages: [] }))).toBeGreaterThan(1_000);
  });

  test('does not take the bytes of an image for text', () => {
    const image = { image_url: { url: `data:image/png;base64,${'A'.repeat(4_000_000)}` } };
    expect(createTokenEstimate().of(call({ messages: [image], max_tokens: 100 }))).toBeLessThan(1_200);
  });

  test('follows what calls turn out to take', () => {
    const estimate = createTokenEstimate();
    for (let count = 0; count < 500; count++) estimate.counted(call({ max_tokens: 4_000 }), 400);
    expect(estimate.of(call({ max_tokens: 4_000 }))).toBeGreaterThan(380);
    expect(estimate.of(call({ max_tokens: 4_000 }))).toBeLessThan(450);
    for (let count = 0; count < 500; count++) estimate.counted(call({ max_tokens: 4_000 }), 4_000);
    expect(estimate.of(call({ max_tokens: 4_000 }))).toBeGreaterThan(3_500);
  });
});
