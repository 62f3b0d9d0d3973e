/**
 * How many tokens a call will take, before anybody has counted them: first by its text and the most that it may answer,
 * then more and more by what calls of late turned out to take.
 */
export type TokenEstimate = {
  of(call: EstimatedCall): number;
  /** A call ended, and the model said what it took. */
  counted(call: EstimatedCall, tokens: number): void;
};
export type EstimatedCall = { readonly endpoint: string; readonly body: Readonly<Record<string, unknown>> };

/** English has about four characters a token; other tongues have fewer, which the first answers show. */
const CHARACTERS_A_TOKEN = 4;
/** An image's tokens go by its size in points, not by its bytes: about 1,000 for the usual ones. */
const IMAGE_TOKENS = 1_000;
/** An answer whose length the request leaves open: rather many, since too few would go beyond the limit at first. */
const OPEN_ANSWER_TOKENS = 1_000;
const MAX_TOKENS_FIELDS = ['max_completion_tokens', 'max_tokens', 'max_output_tokens'] as const;
/** Of what was learned, so much is left after each further call: a hundred calls make the estimate. */
const MEMORY = 0.99;

export function createTokenEstimate(): TokenEstimate {
  // A line is asked about each time that a block is planned, and its text may be long.
  const rough = new WeakMap<EstimatedCall, number>();
  let estimated = 0;
  let taken = 0;
  const roughly = (call: EstimatedCall): number => {
    const known = rough.get(call) ?? roughTokens(call);
    rough.set(call, known);
    return known;
  };

  return {
    of: (call) => roughly(call) * (estimated === 0 ? 1 : taken / estimated),
    counted(call, tokens) {
      const own = roughly(call);
      // The first call is counted beside one that took what was estimated: it alone may be an odd one.
      const before = estimated === 0 ? { estimated: own, taken: own } : { estimated, taken };
      estimated = before.estimated * MEMORY + own;
      taken = before.taken * MEMORY + tokens;
    },
  };
}

function roughTokens({ endpoint, body }: EstimatedCall): number {
  let images = 0;
  const text = JSON.stringify(body, (_, value: unknown) => {
    if (typeof value !== 'string' || !value.startsWith('data:')) return value;
    images++;
    return '';
  });
  const answer =
    endpoint === 'embeddings' ? 0 : (MAX_TOKENS_FIELDS.map((name) => body[name]).find(isCount) ?? OPEN_ANSWER_TOKENS);
  return Math.ceil(text.length / CHARACTERS_A_TOKEN) + images * IMAGE_TOKENS + answer;
}

const isCount = (value: unknown): value is number => typeof value === 'number' && value > 0 && Number.isFinite(value);
