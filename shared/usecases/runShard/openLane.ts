import type { Settings } from '../../contract/settings.ts';
import { createCallPacer } from '../../domain/retry/callPacer.ts';
import { createInFlightWindow } from '../../domain/retry/inFlightWindow.ts';
import { type PaceMemory, recallPace } from '../../domain/retry/learnedPace.ts';
import type { Ports } from '../../ports.ts';
import { createCircuitGate } from './circuitGate.ts';
import { createModelLane, type ModelLane } from './modelLane.ts';
import { createPacerGate } from './pacerGate.ts';

export type LaneDeps = Pick<Ports, 'circuits' | 'clock' | 'ids' | 'random' | 'log'> & {
  settings: Settings;
  /** What earlier workers in this sandbox have found out; this one adds to it. */
  paces: PaceMemory;
};

/** The lane of one model in one turn, with the gates that have a say in its calls. */
export function openLane<Line>(deps: LaneDeps, model: string, callTimeoutMs: number): ModelLane<Line> {
  const { clock, ids, random, paces } = deps;
  const { inFlightStart, inFlightMax: max, retryBaseMs, retryMaxMs } = deps.settings.worker;
  const now = () => clock.now();
  const learned = recallPace(paces, model, now());
  const { size: start, isSteady } = learned?.window ?? { size: inFlightStart, isSteady: false };
  const window = createInFlightWindow({ start, max, isSteady });
  const pacer = createCallPacer(learned?.perSecond);
  const gates = [createCircuitGate({ ...deps, model, prober: ids.ulid(), callTimeoutMs }), createPacerGate(pacer, now)];
  const onClose = () => {
    paces.set(model, {
      perSecond: pacer.perSecond,
      window: { size: window.size, isSteady: window.isSteady },
      learnedAt: now(),
    });
  };
  return createModelLane({ gates, window, retryBaseMs, retryMaxMs, now, random, onClose });
}
