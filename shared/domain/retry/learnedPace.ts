/** What a worker has found out about a model: the next one in the same sandbox starts from there. */
export type LearnedPace = {
  /** Calls a second; undefined: it was never refused. */
  perSecond: number | undefined;
  /** Calls in flight, and whether the window has met its bound. */
  window: { size: number; isSteady: boolean };
  learnedAt: number;
};

/** By the model's name, so that it holds as many as `models.json` names. */
export type PaceMemory = Map<string, LearnedPace>;

/** Limits change with the hour and with who else calls: what was found longer ago is found out anew. */
const GOOD_FOR_MS = 10 * 60_000;

export function recallPace(memory: PaceMemory, model: string, now: number): LearnedPace | undefined {
  const learned = memory.get(model);
  return learned && now - learned.learnedAt < GOOD_FOR_MS ? learned : undefined;
}
