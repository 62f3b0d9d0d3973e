import { type CallShares, holderKey, returnBlock, takeBlock } from '../../shared/domain/retry/callShare.ts';
import type { CallShareStore } from '../../shared/ports.ts';

/**
 * The shares of a limit in memory; `travel` is what each way to the table and back takes. A `blind` one writes over what
 * others have written since it read.
 */
export function memoryCallShares(travel: () => Promise<void> = async () => undefined, { blind = false } = {}) {
  const records = new Map<string, { version: number; shares: CallShares }>();
  let conflicts = 0;
  let writes = 0;
  async function change<T>(
    name: string,
    decide: (found: CallShares | undefined) => { answer: T; shares?: CallShares | undefined },
  ): Promise<T | undefined> {
    for (let tries = 0; tries < 5; tries++) {
      const found = records.get(name);
      await travel();
      const { answer, shares } = decide(found?.shares);
      if (!shares) return answer;
      await travel();
      writes++;
      if (blind || records.get(name)?.version === found?.version) {
        records.set(name, { version: (found?.version ?? 0) + 1, shares });
        return answer;
      }
      conflicts++;
    }
    return undefined;
  }
  const store: CallShareStore = {
    take: ({ model, record, holder, ...ask }, clock) =>
      change(`${record} ${model}`, (found) => {
        const { block, shares } = takeBlock(found, { key: holderKey(holder), ...ask, now: clock.now() });
        return { answer: block, shares };
      }),
    async giveBack({ model, record, holder, ...back }, clock) {
      await change(`${record} ${model}`, (found) => ({
        answer: undefined,
        shares: returnBlock(found, { key: holderKey(holder), ...back, now: clock.now() }),
      }));
    },
  };
  return {
    store,
    records,
    get conflicts() {
      return conflicts;
    },
    get writes() {
      return writes;
    },
  };
}
