import { hash } from 'node:crypto';

/**
 * Which ids came before: an open-addressing hash table over flat memory (28 MB for 1,000,000 ids, where a `Set` of the
 * strings takes over 100 and is the dear part of a validation).
 *
 * An id is kept as 128 bits of its SHA-256 (0.4 µs an id, measured), so a hit needs no look at the real ids: two ids
 * that share them are not to be had, neither by chance (1e-27 for 1,000,000 ids) nor on purpose, and the file need not
 * be read a second time.
 */
const WORDS = 4;
const START_CAPACITY = 1_024;
/** More entries than this share of the slots make the probing long. */
const MAX_LOAD = 0.5;

export class SeenIds {
  /** Four words an id, in the order of adding. */
  #digests = new Uint32Array(START_CAPACITY * WORDS);
  /** What the caller knows each id by, in the order of adding. */
  #tags = new Uint32Array(START_CAPACITY);
  /** Place of an id in that order + 1, or 0. Length is a power of two. */
  #slots = new Uint32Array(START_CAPACITY / MAX_LOAD);
  #size = 0;
  readonly #digest = new Uint32Array(WORDS);

  get size(): number {
    return this.#size;
  }

  /** Bytes that the table holds. */
  get bytes(): number {
    return this.#digests.byteLength + this.#tags.byteLength + this.#slots.byteLength;
  }

  /** Keeps `tag` (a whole number below 2^32) for an id that is new; else answers the tag it was first added with. */
  add(id: string, tag: number): number | undefined {
    this.#digestOf(id);
    const slot = this.#find(this.#digest, 0);
    const found = this.#slots[slot] ?? 0;
    if (found > 0) return this.#tags[found - 1];
    if (this.#size * WORDS === this.#digests.length) {
      this.#grow();
      return this.add(id, tag);
    }
    this.#digests.set(this.#digest, this.#size * WORDS);
    this.#tags[this.#size] = tag;
    this.#size++;
    this.#slots[slot] = this.#size;
    return undefined;
  }

  #digestOf(id: string): void {
    // As UTF-8 half surrogate pairs all become the same character: such ids are told apart in UTF-16, by another hash.
    const bytes = id.isWellFormed()
      ? hash('sha256', id, 'binary')
      : hash('sha512-256', Buffer.from(id, 'utf16le'), 'binary');
    for (let word = 0; word < WORDS; word++) {
      const at = word * 4;
      this.#digest[word] =
        bytes.charCodeAt(at) |
        (bytes.charCodeAt(at + 1) << 8) |
        (bytes.charCodeAt(at + 2) << 16) |
        (bytes.charCodeAt(at + 3) << 24);
    }
  }

  /** The slot that holds the four words at `offset` of `words`, or the free one where they belong. */
  #find(words: Uint32Array, offset: number): number {
    const mask = this.#slots.length - 1;
    let slot = (words[offset] ?? 0) & mask;
    for (;;) {
      const entry = this.#slots[slot] ?? 0;
      if (entry === 0 || this.#isAt(words, offset, entry - 1)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #isAt(words: Uint32Array, offset: number, position: number): boolean {
    const at = position * WORDS;
    for (let word = 0; word < WORDS; word++) if (words[offset + word] !== this.#digests[at + word]) return false;
    return true;
  }

  #grow(): void {
    const digests = new Uint32Array(this.#digests.length * 2);
    digests.set(this.#digests);
    const tags = new Uint32Array(this.#tags.length * 2);
    tags.set(this.#tags);
    this.#tags = tags;
    this.#slots = new Uint32Array(this.#slots.length * 2);
    this.#digests = digests;
    for (let position = 0; position < this.#size; position++)
      this.#slots[this.#find(digests, position * WORDS)] = position + 1;
  }
}
