import { hash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SeenIds } from '../../shared/domain/duplicateIds.ts';

describe('the table of seen ids', () => {
  it('answers like a Map of the ids themselves', () => {
    const ids = fc.array(
      fc.oneof(
        fc.string({ unit: 'binary', maxLength: 6 }),
        fc.string({ maxLength: 2 }),
        fc.constantFrom('a', 'b', '', '\0', 'a\0', '\0a', 'ÿ', 'Ā', 'Ã¿', '\ud800', '\udc00', '\ufffd'),
        // Around the length up to which an id is kept itself.
        fc.constantFrom(...[62, 63, 64, 65, 512].flatMap((length) => ['x'.repeat(length), 'é'.repeat(length)])),
        fc.constantFrom(...['x'.repeat(64), 'Ā'].map((id) => hash('sha512', Buffer.from(id, 'utf16le'), 'binary'))),
      ),
    );
    fc.assert(
      fc.property(ids, (list) => {
        const seen = new SeenIds();
        const naive = new Map<string, number>();
        for (const [at, id] of list.entries()) {
          expect(seen.add(id, at)).toBe(naive.get(id));
          if (!naive.has(id)) naive.set(id, at);
        }
        expect(seen.size).toBe(naive.size);
      }),
    );
  });

  it('finds a duplicate however far apart, in flat memory', () => {
    const seen = new SeenIds();
    for (let at = 0; at < 100_000; at++) if (seen.add(`request-${at}`, at + 7) !== undefined) expect.fail();
    for (const at of [0, 1, 4_711, 99_999]) expect(seen.add(`request-${at}`, 0)).toBe(at + 7);
    expect(seen.size).toBe(100_000);
    // 20 bytes an id and the id itself, for a table that is full to a power of two; twice that right after it grew.
    expect(seen.bytes).toBeLessThanOrEqual(100_000 * 56);
  });
});
