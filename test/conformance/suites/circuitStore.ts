import { ulid } from 'ulid';
import { describe, expect, test } from 'vitest';
import type { OpenCircuit } from '../../../shared/domain/retry/circuit.ts';
import type { CircuitStore } from '../../../shared/ports.ts';

const NOW = Date.parse('2026-01-15T11:00:00.000Z');
const MINUTE_MS = 60_000;
/** As in `models.json`: names may hold what keys are made of. */
const newModel = () => `vendor/model#${ulid()}`;

export function circuitStoreSuite(open: () => CircuitStore): void {
  /** Opened once, at `NOW`. */
  async function opened(model: string): Promise<OpenCircuit> {
    const circuit = await open().open(model, undefined, NOW);
    if (circuit.state !== 'open') throw new Error('It is not open');
    return circuit;
  }

  describe('circuits', () => {
    test('there is none before the first outage', async () => {
      expect(await open().get(newModel())).toBeUndefined();
    });

    test('who opens it first lays down when it is looked at; those who come after are told', async () => {
      const model = newModel();
      const first = { state: 'open', failures: 1, openedAt: NOW, retryAt: NOW + 5_000 };
      expect(await open().open(model, undefined, NOW)).toEqual(first);
      expect(await open().open(model, undefined, NOW + 1_000)).toEqual(first);
      expect(await open().get(model)).toEqual(first);
      expect(await open().get(newModel())).toBeUndefined();
    });

    test('of many at once one opens it, and each is told the same', async () => {
      const model = newModel();
      const told = await Promise.all([0, 1, 2, 3].map((ms) => open().open(model, undefined, NOW + ms)));
      expect(new Set(told.map((circuit) => JSON.stringify(circuit))).size).toBe(1);
      expect(told[0]).toMatchObject({ failures: 1 });
    });

    test('each failed probe makes the pause longer, up to a minute, and after half an hour up to five', async () => {
      const model = newModel();
      let circuit = await opened(model);
      const pauses: number[] = [];
      for (let now = NOW; now < NOW + 50 * MINUTE_MS; now = circuit.retryAt) {
        const next = await open().open(model, circuit, now);
        if (next.state !== 'open') throw new Error('It is not open');
        expect(next).toMatchObject({ failures: circuit.failures + 1, openedAt: NOW });
        circuit = next;
        pauses.push((circuit.retryAt - now) / 1_000);
      }
      expect(pauses.slice(0, 5)).toEqual([10, 20, 40, 60, 60]);
      expect(pauses.at(-1)).toBe(300);
    });

    test('a failure is counted once, whoever reports it', async () => {
      const model = newModel();
      const seen = await opened(model);
      const told = await Promise.all([1, 2, 3].map((ms) => open().open(model, seen, NOW + ms)));
      for (const circuit of told) expect(circuit).toMatchObject({ failures: 2 });
    });

    test('one worker gets the probe, until its time is over or it gives it back', async () => {
      const model = newModel();
      const seen = await opened(model);
      const take = (prober: string, now: number) => open().takeProbe(model, seen, { prober, until: now + 1_000 }, now);
      const taken = await Promise.all(['a', 'b', 'c'].map((prober) => take(prober, NOW)));
      expect(taken.filter(Boolean)).toHaveLength(1);
      expect(await open().get(model)).toMatchObject({ probeUntil: NOW + 1_000 });
      expect(await take('d', NOW + 999)).toBe(false);
      expect(await take('d', NOW + 1_000)).toBe(true);
      await open().dropProbe(model, seen, 'a');
      expect(await take('e', NOW + 1_001)).toBe(false);
      await open().dropProbe(model, seen, 'd');
      expect(await take('e', NOW + 1_001)).toBe(true);
      // A failed probe is over.
      const next = await open().open(model, seen, NOW + 1_500);
      expect(next).not.toHaveProperty('probeUntil');
      expect(await take('f', NOW + 1_500)).toBe(false);
    });

    test('a closed one says since when, and nobody probes it', async () => {
      const model = newModel();
      const seen = await opened(model);
      await open().takeProbe(model, seen, { prober: 'a', until: NOW + 1_000 }, NOW);
      await open().close(model, seen, NOW + 2_000);
      expect(await open().get(model)).toEqual({ state: 'closed', closedAt: NOW + 2_000 });
      expect(await open().takeProbe(model, seen, { prober: 'b', until: NOW + 9_000 }, NOW + 3_000)).toBe(false);
      // Who reports a failure of an outage that is over opens nothing.
      expect(await open().open(model, seen, NOW + 3_000)).toMatchObject({ state: 'closed' });
      expect(await open().open(model, undefined, NOW + 4_000)).toMatchObject({ failures: 1, openedAt: NOW + 4_000 });
    });

    test('who comes late closes no newer outage, and lengthens none', async () => {
      const model = newModel();
      const old = await opened(model);
      await open().close(model, old, NOW + 1_000);
      const newer = await open().open(model, undefined, NOW + 2_000);
      await open().close(model, old, NOW + 3_000);
      expect(await open().open(model, old, NOW + 3_000)).toEqual(newer);
      expect(await open().get(model)).toEqual(newer);
    });
  });
}
