import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { OpenCircuit } from '../../../shared/domain/retry/circuit.ts';
import type { CircuitStore } from '../../../shared/ports.ts';
import type { GatedCall, GatedEnd } from '../../../shared/usecases/runShard/callGate.ts';
import { createCircuitGate } from '../../../shared/usecases/runShard/circuitGate.ts';
import { recordedLog } from '../../support/recordedLog.ts';
import { handClock, type ShardWorld, startShardWorld } from '../../support/shardWorld.ts';

const MINUTE_MS = 60_000;
const CALL_TIMEOUT_MS = 300_000;

let world: ShardWorld;
beforeAll(async () => {
  world = await startShardWorld();
});
afterAll(() => world.close());

let circuits: CircuitStore;
let time: ReturnType<typeof handClock>;
beforeEach(() => {
  circuits = world.circuits();
  time = handClock();
});

/** A worker's gate, and calls through it. */
function aWorker(prober: string, store: CircuitStore = circuits) {
  const { clock } = time;
  const log = recordedLog();
  const options = { model: 'default', prober, callTimeoutMs: CALL_TIMEOUT_MS };
  const gate = createCircuitGate({ circuits: store, clock, random: { next: () => 0 }, log, ...options });
  const blamed: string[] = [];
  const lines = new Map<string, GatedCall['line']>();
  const begin = (name: string): GatedCall => {
    const line = lines.get(name) ?? ({} as GatedCall['line']);
    lines.set(name, line);
    const call = { line, beganAt: clock.now(), blame: () => void blamed.push(name) };
    gate.began(call);
    return call;
  };
  return {
    gate,
    log,
    blamed,
    begin,
    call: (name: string, end: GatedEnd) => gate.ended(begin(name), end),
    /** Lets the store have its say. */
    ready: async () => void (await gate.prepare(clock.now())),
    isOpen: () => gate.opensAt(clock.now()) <= clock.now(),
  };
}
type Worker = ReturnType<typeof aWorker>;

const FAULT: GatedEnd = { cause: 'server_error', status: 500 };
const SERVED: GatedEnd = {};

async function started(prober = 'a'): Promise<Worker> {
  const worker = aWorker(prober);
  expect(worker.isOpen()).toBe(false);
  await worker.ready();
  expect(worker.isOpen()).toBe(true);
  return worker;
}

/** Five faults in a row. */
async function brokenDown(worker: Worker): Promise<OpenCircuit> {
  for (let fault = 0; fault < 5; fault++) worker.call(`line ${fault}`, FAULT);
  await worker.ready();
  const circuit = await circuits.get('default');
  if (circuit?.state !== 'open') throw new Error('It is not open');
  return circuit;
}

describe('a fault', () => {
  it('is its line’s own once another call was served after it', async () => {
    const { call, blamed } = await started();
    call('poor', FAULT);
    expect(blamed).toEqual([]);
    call('other', SERVED);
    expect(blamed).toEqual(['poor']);
    call('other', SERVED);
    call('poor', { cause: 'timeout' });
    call('third', { cause: 'rate_limited', status: 429 });
    call('poor', { cause: 'network' });
    call('fourth', { cause: 'bad_request', status: 400 });
    expect(blamed).toEqual(['poor', 'poor', 'poor']);
  });

  it('is not held against it by a call that had begun before: a server that goes down may end what it has', async () => {
    const { call, begin, gate, blamed } = await started();
    const [slow, slower] = [begin('slow'), begin('slower')];
    call('poor', FAULT);
    gate.ended(slow, SERVED);
    call('poor', FAULT);
    gate.ended(slower, SERVED);
    expect(blamed).toEqual([]);
    call('new', SERVED);
    expect(blamed).toEqual(['poor']);
  });

  it('is the outage’s own where its call had begun before the end of it', async () => {
    const worker = await started();
    const hanging = worker.begin('hanging');
    await brokenDown(worker);
    time.advance(5_000);
    await worker.ready();
    worker.call('probe', SERVED);
    worker.gate.ended(hanging, { cause: 'timeout' });
    worker.call('other', SERVED);
    expect(worker.blamed).toEqual([]);
  });

  it('is not counted twice, and one that another followed before anything was served is not counted', async () => {
    const { call, blamed } = await started();
    call('poor', FAULT);
    call('poor', FAULT);
    call('other', SERVED);
    call('other', SERVED);
    expect(blamed).toEqual(['poor']);
  });

  it('says nothing where the answer is garbage or we called it off', async () => {
    const { call, blamed, isOpen } = await started();
    call('poor', FAULT);
    for (let time = 0; time < 10; time++) {
      call('other', { cause: 'invalid_response' });
      call('third', { cause: 'called_off' });
    }
    expect(blamed).toEqual([]);
    expect(isOpen()).toBe(true);
  });

  it('is forgotten where the model turns out to be down', async () => {
    const worker = await started();
    await brokenDown(worker);
    time.advance(5_000);
    await worker.ready();
    worker.call('probe', SERVED);
    worker.call('other', SERVED);
    expect(worker.blamed).toEqual([]);
  });
});

describe('a model that is down', () => {
  it('is called by one worker at a time, which ends the outage for all', async () => {
    const [one, two] = [await started('a'), await started('b')];
    const { retryAt } = await brokenDown(one);
    expect(retryAt).toBe(time.clock.now() + 5_000);
    expect(one.gate.opensAt(time.clock.now())).toBe(retryAt);
    // The other has not noticed, and is not stopped; one that begins now is.
    expect(two.isOpen()).toBe(true);
    const three = aWorker('c');
    await three.ready();
    expect(three.gate.opensAt(time.clock.now())).toBe(retryAt);

    time.advance(5_000);
    await Promise.all([one.ready(), three.ready()]);
    expect([one.gate.probing, three.gate.probing].filter(Boolean)).toHaveLength(1);
    const [prober, other] = one.gate.probing ? [one, three] : [three, one];
    expect(prober.isOpen()).toBe(true);
    expect(other.isOpen()).toBe(false);
    const probe = prober.begin('probe');
    expect(prober.isOpen()).toBe(false);
    prober.gate.ended(probe, SERVED);
    expect(prober.isOpen()).toBe(true);
    await prober.gate.close?.({ goesOn: false });
    expect(await circuits.get('default')).toMatchObject({ state: 'closed' });
    time.advance(5_000);
    await other.ready();
    expect(other.isOpen()).toBe(true);
  });

  it('is left alone longer after each failed probe, and a line is blamed for one only after twelve minutes', async () => {
    const worker = await started();
    const { openedAt } = await brokenDown(worker);
    const blamedAt: number[] = [];
    for (let probes = 0; probes < 20; probes++) {
      time.advance(worker.gate.opensAt(time.clock.now()) - time.clock.now());
      await worker.ready();
      expect(worker.gate.probing).toBe(true);
      worker.call('probe', FAULT);
      await worker.ready();
      if (worker.blamed.length > blamedAt.length) blamedAt.push(time.clock.now() - openedAt);
    }
    expect(blamedAt[0]).toBeGreaterThanOrEqual(12 * MINUTE_MS);
    expect(blamedAt[0]).toBeLessThan(13.5 * MINUTE_MS);
    expect(blamedAt[4]).toBeLessThan(18 * MINUTE_MS);
  });

  it('is probed by another where the prober gives the probe back, or dies', async () => {
    const worker = await started();
    await brokenDown(worker);
    time.advance(5_000);
    await worker.ready();
    expect(worker.gate.probing).toBe(true);
    await worker.gate.close?.({ goesOn: false });
    const next = aWorker('b');
    await next.ready();
    expect(next.gate.probing).toBe(true);
    const last = aWorker('c');
    await last.ready();
    expect(last.isOpen()).toBe(false);
    // b was never heard of again.
    time.advance(CALL_TIMEOUT_MS + 15_000);
    await last.ready();
    expect(last.gate.probing).toBe(true);
  });

  it('is not kept from others by a probe that a worker takes while it ends', async () => {
    const worker = await started();
    await brokenDown(worker);
    time.advance(5_000);
    const looking = worker.gate.prepare(time.clock.now());
    await worker.gate.close?.({ goesOn: true });
    await looking;
    const next = aWorker('b');
    await next.ready();
    expect(next.gate.probing).toBe(true);
  });

  it('is known to be so in the next turn, where a turn saw nothing but a few faults', async () => {
    const alone = await started();
    alone.call('poor', FAULT);
    await alone.gate.close?.({ goesOn: true });
    expect(await circuits.get('default')).toMatchObject({ state: 'open', failures: 1 });
  });

  it.each<[string, GatedEnd[], boolean]>([
    ['has no other turn', [FAULT], false],
    ['has been served', [SERVED, FAULT], true],
    ['had its fault held against the line', [FAULT, SERVED], true],
  ])('is not taken to be so by a worker that %s', async (_, ends, goesOn) => {
    const worker = await started();
    for (const end of ends) worker.call('line', end);
    await worker.gate.close?.({ goesOn });
    expect(await circuits.get('default')).toBeUndefined();
  });

  it('is probed all the same where the clock of who found it down was an hour ahead', async () => {
    await circuits.open('default', undefined, time.clock.now() + 60 * MINUTE_MS);
    const worker = aWorker('b');
    await worker.ready();
    expect(worker.gate.probing).toBe(true);
  });

  it('is up where a call that was in flight is served, while the circuit is open or being opened', async () => {
    const worker = await started();
    const slow = worker.begin('slow');
    await brokenDown(worker);
    worker.gate.ended(slow, SERVED);
    expect(worker.isOpen()).toBe(true);
    await worker.gate.close?.({ goesOn: false });
    expect(await circuits.get('default')).toMatchObject({ state: 'closed' });

    time.advance(10 * MINUTE_MS);
    const other = await started('b');
    const late = other.begin('late');
    for (let fault = 0; fault < 5; fault++) other.call(`line ${fault}`, FAULT);
    other.gate.ended(late, SERVED);
    await other.ready();
    expect(other.isOpen()).toBe(true);
    await other.gate.close?.({ goesOn: false });
    expect(await circuits.get('default')).toMatchObject({ state: 'closed' });
  });

  it('was up for others where they closed the circuit: the next fault of each line counts at once, one time', async () => {
    const worker = await started();
    const seen = await brokenDown(worker);
    await circuits.close('default', seen, time.clock.now() + 4_000);
    time.advance(5_000);
    await worker.ready();
    worker.call('poor', FAULT);
    worker.call('poor', FAULT);
    worker.call('second', FAULT);
    expect(worker.blamed).toEqual(['poor', 'second']);
    // So it was for a worker that begins shortly after.
    const next = await started('b');
    next.call('poor', FAULT);
    expect(next.blamed).toEqual(['poor']);
    time.advance(3 * MINUTE_MS);
    const later = await started('c');
    later.call('poor', FAULT);
    expect(later.blamed).toEqual([]);
  });
});

describe('a table that is not to be had', () => {
  it('ends no outage: no line is blamed because nobody knew of it', async () => {
    const open = () => Promise.reject(new Error('throttled'));
    const deaf = aWorker('b', { ...circuits, open });
    await deaf.ready();
    for (let fault = 0; fault < 5; fault++) deaf.call(`line ${fault}`, FAULT);
    await deaf.ready();
    time.advance(5_000);
    await deaf.ready();
    deaf.call('line', FAULT);
    expect(deaf.blamed).toEqual([]);
  });

  const failing = (): CircuitStore => {
    const fail = () => Promise.reject(new Error('throttled'));
    return { get: fail, open: fail, takeProbe: fail, dropProbe: fail, close: fail };
  };

  it('stops nobody, and the worker goes by what it knows itself', async () => {
    const worker = aWorker('a', failing());
    await worker.ready();
    expect(worker.isOpen()).toBe(true);
    for (let fault = 0; fault < 5; fault++) worker.call(`line ${fault}`, FAULT);
    await worker.ready();
    expect(worker.gate.opensAt(time.clock.now())).toBe(time.clock.now() + 5_000);
    time.advance(5_000);
    await worker.ready();
    expect(worker.isOpen()).toBe(false);
    await worker.gate.close?.({ goesOn: false });
    expect(worker.log.lines.map(({ message }) => message)).toContain('circuit not opened');
  });
});
