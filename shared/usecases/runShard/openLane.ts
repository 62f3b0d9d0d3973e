import type { Settings } from '../../contract/settings.ts';
import type { BatchHead } from '../../domain/batch.ts';
import { findModel, type ModelsFile } from '../../domain/models.ts';
import { createCallPacer } from '../../domain/retry/callPacer.ts';
import { createInFlightWindow } from '../../domain/retry/inFlightWindow.ts';
import { type PaceMemory, recallPace } from '../../domain/retry/learnedPace.ts';
import { workersOfBatch } from '../../domain/retry/workersOfBatch.ts';
import type { Ports } from '../../ports.ts';
import type { CalledLine } from './callLine.ts';
import { createCircuitGate } from './circuitGate.ts';
import { createModelLane, type ModelLane } from './modelLane.ts';
import { createPacerGate } from './pacerGate.ts';
import { createShareGate } from './shareGate.ts';

export type LaneDeps = Pick<Ports, 'circuits' | 'callShares' | 'clock' | 'ids' | 'random' | 'log'> & {
  settings: Settings;
  models: ModelsFile;
  /** What earlier workers in this sandbox have found out; this one adds to it. */
  paces: PaceMemory;
};

/** The lane of one model in one turn, with the gates that have a say in its calls. */
export function openLane<Line extends CalledLine>(
  deps: LaneDeps,
  model: string,
  { head, callTimeoutMs }: { head: BatchHead; callTimeoutMs: number },
): ModelLane<Line> {
  const { clock, ids, random, paces } = deps;
  const { inFlightStart, inFlightMax: max, retryBaseMs, retryMaxMs } = deps.settings.worker;
  const now = () => clock.now();
  const learned = recallPace(paces, model, now());
  const { size: start, isSteady } = learned?.window ?? { size: inFlightStart, isSteady: false };
  const window = createInFlightWindow({ start, max, isSteady });
  const pacer = createCallPacer(learned?.perSecond);
  const gates = [createCircuitGate({ ...deps, model, prober: ids.ulid(), callTimeoutMs }), createPacerGate(pacer, now)];
  const limits = findModel(deps.models, model)?.limits;
  const share =
    limits &&
    createShareGate(deps, {
      ...{ model, limits, holder: head },
      workers: workersOfBatch(head.plan, deps.models, { ...deps.settings.shards, ...deps.settings.worker }),
      demand: () => ({ ready: lane.ready, room: window.size - window.inFlight }),
      othersOpenAt: (at) => gates.reduce((opensAt, gate) => Math.max(opensAt, gate.opensAt(at)), lane.pausedUntil),
    });
  const onClose = () => {
    paces.set(model, {
      perSecond: pacer.perSecond,
      window: { size: window.size, isSteady: window.isSteady },
      learnedAt: now(),
    });
  };
  const lane: ModelLane<Line> = createModelLane<Line>({
    // Last: a place in a limit is taken only where the others would let the call go.
    gates: share ? [...gates, share] : gates,
    plansAhead: share !== undefined,
    ...{ window, retryBaseMs, retryMaxMs, now, random, onClose },
  });
  return lane;
}
