import {
  FAULTS_TO_OPEN,
  isProbeDue,
  type OpenCircuit,
  openedCircuit,
  PATIENCE_MS,
  PROBE_MARGIN_MS,
  RECENTLY_MS,
} from '../../domain/retry/circuit.ts';
import { FAILURE_CAUSES } from '../../domain/retry/failureCauses.ts';
import type { Ports } from '../../ports.ts';
import type { CallGate, GatedCall, GatedEnd } from './callGate.ts';
import type { CalledLine } from './callLine.ts';

/** Somebody else probes: pauses between looks at what came of it. The second is long enough to leave it to the machine. */
const LOOKS_AT_PROBE_MS = [5_000, 25_000] as const;
/** Those who wait for the same moment do not come all at once. */
const JITTER_MS = 2_000;

type State =
  /** Nothing is known of the model: the record is read before the first call. */
  | { kind: 'unread' }
  | { kind: 'closed' }
  /** The record is being written; `servedSince`: a call was served meanwhile. */
  | { kind: 'opening'; servedSince: boolean }
  /** `isShared`: others know of the outage, so that they can end it. */
  | { kind: 'waiting'; circuit: OpenCircuit; lookAt: number; looks: number; isShared: boolean }
  /** This worker has the probe, and makes it with the call `probe`. */
  | { kind: 'probing'; circuit: OpenCircuit; probe: GatedCall | undefined };

type Options = Pick<Ports, 'circuits' | 'clock' | 'random' | 'log'> & {
  model: string;
  /** Names this worker among those that would probe. */
  prober: string;
  callTimeoutMs: number;
};

/**
 * Closes a lane while its model is down as a whole. A fault that could mean that is held against its line only once
 * another call was served that had begun after it, with no outage seen in between: then the model was up and the line
 * at fault. What had begun before proves nothing: a server that goes down may well end what it has.
 *
 * The record is read before the first call and while it is known to be open; while all is well it is not looked at.
 */
export function createCircuitGate(options: Options): CallGate & { readonly probing: boolean } {
  const { model, circuits, clock, random, log, prober } = options;
  let state: State = { kind: 'unread' };
  /** What goes on in the store and decides whether calls may go on; and what nobody waits for but the end. */
  let deciding: Promise<void> | undefined;
  let handedOut = false;
  const background = new Set<Promise<void>>();
  let faultsInARow = 0;
  let hasServed = false;
  let begun = 0;
  const numberOf = (call: GatedCall) => call.number ?? 0;
  /** The oldest fault of each line that may yet be at fault, and how many calls had begun by then. */
  const pending = new Map<CalledLine, { call: GatedCall; begun: number }>();
  /** Calls that had begun when the last outage ended: their faults are its own. */
  let begunInOutage = 0;
  /** Others have ended the outage, so the model was up: the next fault of each line counts at once. These had it. */
  let chargedSince: Set<CalledLine> | undefined;

  const warn = (what: string) => (error: unknown) => log.warn(what, { model, error });
  const decide = (work: Promise<void>) => {
    handedOut = false;
    const mine = work.finally(() => {
      if (deciding === mine) deciding = undefined;
    });
    deciding = mine;
  };
  const inBackground = (work: Promise<unknown>, what: string) => {
    const mine = work.then(() => undefined, warn(what)).finally(() => background.delete(mine));
    background.add(mine);
  };

  const wait = (circuit: OpenCircuit, at: number, { looks = 0, isShared = true } = {}) => {
    const lookAt = at + Math.floor(random.next() * JITTER_MS);
    state = { kind: 'waiting', circuit, lookAt, looks, isShared };
  };
  const close = (byOthers: boolean) => {
    state = { kind: 'closed' };
    faultsInARow = 0;
    begunInOutage = begun;
    chargedSince = byOthers ? new Set() : undefined;
  };
  const closeForAll = (circuit: OpenCircuit) => {
    close(false);
    inBackground(circuits.close(model, circuit, clock.now()), 'circuit not closed');
  };
  const dropProbe = (circuit: OpenCircuit) =>
    inBackground(circuits.dropProbe(model, circuit, prober), 'probe not given back');

  /** Reads how things stand, and takes the probe where it is due and free. */
  async function look(before: Extract<State, { kind: 'unread' | 'waiting' }>): Promise<void> {
    const looks = before.kind === 'waiting' ? before.looks : 0;
    const again = (circuit: OpenCircuit, isShared = true) => {
      const pauseMs = LOOKS_AT_PROBE_MS[looks] ?? LOOKS_AT_PROBE_MS[1];
      wait(circuit, clock.now() + pauseMs, { looks: looks + 1, isShared });
    };
    try {
      const circuit = await circuits.get(model);
      // A call that was served has closed it meanwhile.
      if (state !== before) return;
      const now = clock.now();
      if (circuit?.state !== 'open') {
        const isRecent = circuit !== undefined && Math.abs(now - circuit.closedAt) < RECENTLY_MS;
        return close(before.kind === 'waiting' ? before.isShared : isRecent);
      }
      if (!isProbeDue(circuit, now)) return wait(circuit, circuit.retryAt);
      if ((circuit.probeUntil ?? 0) > now) return again(circuit);
      const until = now + options.callTimeoutMs + PROBE_MARGIN_MS;
      const taken = await circuits.takeProbe(model, circuit, { prober, until }, now);
      if (state !== before) return taken ? dropProbe(circuit) : undefined;
      if (taken) state = { kind: 'probing', circuit, probe: undefined };
      else again(circuit);
    } catch (error) {
      warn('circuit not read')(error);
      if (state !== before) return;
      // Who cannot know goes on as before.
      if (before.kind === 'unread') close(false);
      else again(before.circuit, before.isShared);
    }
  }

  async function open(seen: OpenCircuit | undefined): Promise<void> {
    const opening: State = { kind: 'opening', servedSince: false };
    state = opening;
    pending.clear();
    const now = clock.now();
    let isShared = true;
    const circuit = await circuits.open(model, seen, now).catch((error: unknown) => {
      warn('circuit not opened')(error);
      isShared = seen !== undefined;
      return openedCircuit(seen, now);
    });
    if (circuit.state === 'closed') close(true);
    else if (opening.servedSince) closeForAll(circuit);
    else wait(circuit, circuit.retryAt, { isShared });
  }

  function served(call: GatedCall): void {
    hasServed = true;
    faultsInARow = 0;
    chargedSince = undefined;
    for (const [line, fault] of pending) {
      if (numberOf(call) <= fault.begun) continue;
      pending.delete(line);
      fault.call.blame();
    }
    if (state.kind === 'opening') state.servedSince = true;
    else if (state.kind === 'waiting' || state.kind === 'probing') closeForAll(state.circuit);
  }

  function probeEnded(circuit: OpenCircuit, probe: GatedCall, cause: GatedEnd['cause']): void {
    if (cause === 'called_off') {
      dropProbe(circuit);
      wait(circuit, circuit.retryAt);
      return;
    }
    if (isDown(cause) && clock.now() - circuit.openedAt >= PATIENCE_MS) probe.blame();
    decide(open(circuit));
  }

  function fault(call: GatedCall): void {
    // A call that had begun before the circuit opened says nothing new, even where it ends after the outage.
    if (state.kind !== 'closed' || numberOf(call) <= begunInOutage) return;
    faultsInARow++;
    if (chargedSince && !chargedSince.has(call.line)) {
      chargedSince.add(call.line);
      call.blame();
    } else if (!pending.has(call.line)) pending.set(call.line, { call, begun });
    if (faultsInARow >= FAULTS_TO_OPEN) decide(open(undefined));
  }

  return {
    get probing() {
      return state.kind === 'probing';
    },
    opensAt(now) {
      if (state.kind === 'closed' || (state.kind === 'probing' && !state.probe)) return 0;
      return state.kind === 'waiting' && now < state.lookAt ? state.lookAt : Number.POSITIVE_INFINITY;
    },
    prepare(now) {
      if (!deciding && (state.kind === 'unread' || (state.kind === 'waiting' && now >= state.lookAt)))
        decide(look(state));
      if (!deciding || handedOut) return undefined;
      handedOut = true;
      return deciding;
    },
    began(call) {
      call.number = ++begun;
      if (state.kind === 'probing') state.probe ??= call;
    },
    ended(call, { cause }) {
      const model = cause === undefined ? 'up' : cause === 'called_off' ? 'unknown' : FAILURE_CAUSES[cause].model;
      if (model === 'up') served(call);
      else if (state.kind === 'probing' && state.probe === call) probeEnded(state.circuit, call, cause);
      else if (model === 'down') fault(call);
    },
    async close({ goesOn }) {
      await deciding;
      // Read anew: what was being decided may have brought a probe.
      const standing = state as State;
      if (standing.kind === 'probing') {
        dropProbe(standing.circuit);
        wait(standing.circuit, standing.circuit.retryAt);
      }
      // Its lines begin their next turn without these faults; where nothing else is ever served, no turn would see enough
      // of them, and a line that always fails would go on until the window ends. The record keeps them.
      if (standing.kind === 'closed' && goesOn && !hasServed && faultsInARow > 0) await open(undefined);
      await Promise.all(background);
    },
  };
}

function isDown(cause: GatedEnd['cause']): boolean {
  return cause !== undefined && cause !== 'called_off' && FAILURE_CAUSES[cause].model === 'down';
}
