import { describe, expect, it } from 'vitest';
import { fuzz } from './run.ts';
import { TARGET_NAMES, type TargetName } from './targets.ts';

/** About ten seconds of processor time for each. */
const EXECUTIONS: Record<TargetName, number> = { lines: 6_000, answers: 4_000, requests: 3_000, tokens: 6_000 };

/** What must have come of some input, or the target does not look at what it should. */
const OUTCOMES: Record<TargetName, string[]> = {
  lines: ['call', 'answered', 'error', 'blank'],
  answers: [
    ...['/v1/chat/completions', '/v1/responses', '/agents/a/invoke', '/vectors', '/v1/embeddings'].map(
      (url) => `output of ${url}`,
    ),
    ...['invalid_response', 'too_large', 'bad_request', 'rate_limited', 'server_error'],
  ],
  requests: ['201', '200', '400', '404', '409', '413', '415'],
  tokens: ['project', 'operator', 'refused'],
};

describe('input by force', () => {
  it.each(TARGET_NAMES)('%s come out as they went in, or get their error', async (name) => {
    const { executions, outcomes } = await fuzz(name, 1, (count) => count < EXECUTIONS[name]);
    expect(executions).toBe(EXECUTIONS[name]);
    expect([...outcomes.keys()]).toEqual(expect.arrayContaining(OUTCOMES[name]));
  });
});
