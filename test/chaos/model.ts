import type { ModelAnswer, ModelCall } from '../../shared/ports.ts';
import type { Process, SimulatedModel } from '../simulation/simulation.ts';
import type { VirtualTime } from '../simulation/virtualTime.ts';
import type { Fate } from '../soak/lines.ts';
import { type Asked, answerOf, type ModelBooks, nothingAsked, promptOf } from '../soak/model.ts';
import { Violation } from '../soak/violation.ts';
import type { Random } from '../support/random.ts';
import type { Fault, Weather } from './weather.ts';

export type ChaosModel = SimulatedModel &
  ModelBooks & {
    /** When the last call of a batch began, by the clock of the machine that made it. */
    lastCallAt: ReadonlyMap<string, number>;
    /** The first rule that a call has broken. */
    violation(): Violation | undefined;
  };

/** How long a call takes at least and at most, where its line is not slow. */
const CALL_MS = { least: 50, most: 3_000 };
export const MEAN_CALL_MS = (CALL_MS.least + CALL_MS.most) / 2;

const json = (value: unknown) => Buffer.from(JSON.stringify(value));
const refusal = (status: number, retryAfterMs?: number): ModelAnswer => ({
  kind: 'answered',
  status,
  body: json({ error: { message: `The script says ${status}` } }),
  ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
});

/**
 * The soak's scripted model in virtual time, with the faults of the weather on top. It keeps books of every call: by
 * prompt, by idempotency key, and by the batch for which it was made.
 */
export function createChaosModel(
  time: VirtualTime,
  random: Random,
  weather: Weather,
  {
    onFault,
    requestsPerMinute,
    clockJumps,
    thawed,
  }: {
    /** By model, where it has a limit. */
    requestsPerMinute: Partial<Record<string, number | undefined>>;
    onFault(fault: Fault, where: string): void;
    /** How often a clock has jumped so far. */
    clockJumps(): number;
    /** Resolves once the caller can take an answer. */
    thawed(process: Process): Promise<void>;
  },
): ChaosModel {
  const startedAt = time.now;
  const asked = new Map<string, Asked>();
  const promptByKey = new Map<string, string>();
  const keyByLine = new Map<string, string>();
  const lastCallAt = new Map<string, number>();
  const totals = { calls: 0, answers: 0, repeatedAnswers: 0 };
  let serial = 0;
  let violation: Violation | undefined;

  function enter(key: string, prompt: string, batchId: string, at: number): void {
    lastCallAt.set(batchId, Math.max(at, lastCallAt.get(batchId) ?? 0));
    const line = `${batchId} ${prompt}`;
    const [ownKey, ownPrompt] = [keyByLine.get(line) ?? key, promptByKey.get(key) ?? prompt];
    keyByLine.set(line, ownKey);
    promptByKey.set(key, ownPrompt);
    if (ownKey !== key)
      violation ??= new Violation(batchId, `The call of ${prompt} has the key ${key}, an earlier one had ${ownKey}`);
    if (ownPrompt !== prompt)
      violation ??= new Violation(batchId, `The key ${key} was used for ${ownPrompt} and for ${prompt}`);
  }

  /** Times of the calls of the last minute, by model. */
  const ofLastMinute = new Map<string, number[]>();
  function holdToLimit(model: string, batchId: string): void {
    const limit = requestsPerMinute[model];
    if (limit === undefined) return;
    const times = (ofLastMinute.get(model) ?? []).filter((at) => at > time.now - 60_000);
    times.push(time.now);
    ofLastMinute.set(model, times);
    // A worker whose clock jumps ahead begins at once what it has taken: about a second's calls.
    const allowed = limit + clockJumps() * Math.ceil(limit / 60);
    if (times.length > allowed)
      violation ??= new Violation(
        batchId,
        `${times.length} calls within a minute, where the model's limit is ${limit}`,
      );
  }

  const outageNow = () =>
    weather.outages.find(({ fromMs, toMs }) => time.now >= startedAt + fromMs && time.now < startedAt + toMs);

  return {
    totals,
    lastCallAt,
    violation: () => violation,
    asked: (prompt) => asked.get(prompt),
    async call(call, process) {
      const answer = await respond(call, process);
      await thawed(process);
      return answer;
    },
  };

  async function respond(call: ModelCall, process: Process): Promise<ModelAnswer> {
    const [fate, prompt] = promptOf(call.endpoint, call.body).split(' ', 2) as [Fate, string];
    const key = call.idempotencyKey;
    enter(key, prompt, String(process.payload.batchId), time.now + process.skewMs);
    holdToLimit(String(call.body.model), String(process.payload.batchId));
    const known = asked.get(prompt) ?? nothingAsked();
    asked.set(prompt, known);
    const own = known.byKey.get(key) ?? { calls: 0, answers: 0 };
    known.byKey.set(key, own);
    known.calls++;
    own.calls++;
    totals.calls++;
    const chance = random.fork(`${key} ${own.calls}`);
    const after = (least: number, most: number) => time.clock.sleep(chance.int(least, most), call.signal);
    const draw = (fault: Fault) => {
      const drawn = chance.next() < weather.rates[fault];
      if (!drawn || time.now >= startedAt + weather.faultsForMs) return false;
      onFault(fault, 'model');
      return true;
    };

    const answer = (): ModelAnswer => {
      const number = ++serial;
      known.serials.add(number);
      totals.answers++;
      if (++own.answers > 1) totals.repeatedAnswers++;
      return { kind: 'answered', status: 200, body: Buffer.from(answerOf(call.endpoint, prompt, number)) };
    };
    const refuse = (status: number, retryAfterMs?: number): ModelAnswer => {
      if (status === 400) known.refusals++;
      else known.failures++;
      if (status === 429) known.throttles++;
      return refusal(status, retryAfterMs);
    };
    const cut = (): ModelAnswer => {
      known.failures++;
      return { kind: 'network', reason: 'the script cuts it' };
    };
    const hang = async (): Promise<ModelAnswer> => {
      known.failures++;
      await time.clock.sleep(call.timeoutMs, call.signal);
      return { kind: 'timeout' };
    };
    const garble = (): ModelAnswer => {
      known.failures++;
      known.garbled++;
      return { kind: 'answered', status: 200, body: Buffer.from('<html>Welcome</html>') };
    };

    const injected = async (): Promise<ModelAnswer | undefined> => {
      if (draw('model_429')) return refuse(429);
      if (draw('model_429_retry_after')) return refuse(429, chance.int(1, 60) * 1000);
      if (draw('model_5xx')) return refuse(chance.pick([500, 502, 504]));
      if (draw('model_overloaded')) return refuse(chance.pick([503, 529]));
      if (draw('model_network')) return cut();
      if (draw('model_timeout')) return hang();
      if (draw('model_garbled')) return garble();
      if (!draw('model_oversized')) return undefined;
      known.oversized++;
      known.failures++;
      return { kind: 'too_large' };
    };

    await after(CALL_MS.least, CALL_MS.most);
    const outage = outageNow();
    if (outage) {
      onFault('model_outage', 'model');
      known.outageFailures++;
      return outage.how === 'cut' ? cut() : refuse(503);
    }
    const fault = await injected();
    if (fault) return fault;
    switch (fate) {
      case 'answered':
        return answer();
      case 'slow':
        await after(3_000, 15_000);
        return answer();
      case 'throttled':
        return own.calls <= 2 ? refuse(429, chance.chance(0.5) ? 1_000 : undefined) : answer();
      case 'failing_once':
        return own.calls === 1 ? refuse(500) : answer();
      case 'cut_once':
        return own.calls === 1 ? cut() : answer();
      case 'hanging_once':
        return own.calls > 1 ? answer() : hang();
      case 'broken':
        return refuse(500);
      case 'hanging':
        return hang();
      case 'garbage':
        return garble();
      case 'refused':
        return refuse(400);
      case 'healing':
        return [...known.byKey.keys()][0] === key ? refuse(400) : answer();
      default:
        // A line that no model is to be asked about; the checker finds it in `asked`.
        return refuse(400);
    }
  }
}
