import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ResultMemory } from '../../../shared/usecases/runShard/resultMemory.ts';

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constant('é'.repeat(40_000)),
  fc.constant('x'.repeat(300_000)),
);

test('keeps the bytes of the texts, however large they are, until they are freed', () => {
  fc.assert(
    fc.property(fc.array(fc.array(text, { maxLength: 4 }), { maxLength: 40 }), (results) => {
      const memory = new ResultMemory();
      const written = results.map((texts) => memory.write(texts));
      expect(written.map((bytes) => bytes.toString())).toEqual(
        results.map((texts) => Buffer.from(texts.map((one) => Buffer.from(one).toString()).join('')).toString()),
      );
      memory.free();
      // What was given back has no bytes any more: nobody can read another's.
      expect(written.every((bytes) => bytes.length === 0)).toBe(true);
      expect(memory.write(['again']).toString()).toBe('again');
    }),
    { numRuns: 50 },
  );
});
