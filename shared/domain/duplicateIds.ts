import { hash, randomFillSync } from 'node:crypto';

/**
 * Which ids came before: a hash table over flat memory (38 MB for 1,000,000 ids of 16 characters, where a `Set` of the
 * strings takes over 100 and is the dear part of a validation).
 *
 * A hit is confirmed on the ids: one of up to 63 characters of one byte each is kept as it is, any other by its SHA-512.
 * What finds the chain to look through is multilinear hashing (Lemire and Kaser, "Strongly universal string hashing is
 * fast") under random numbers of this table's own: any two ids share its 24 bits with a chance of 2^-24, whatever they
 * are. So chains are short, and nobody can make up ids that make them long.
 */
const DIGEST = 'sha512';
/** Longer than any id that is kept itself, so the two are never taken for each other. */
const DIGEST_BYTES = 64;
const BYTE_VALUES = 256;
/** A character and 1 have nine bits, which leaves so many of 32 to trust. */
const DROPPED_BITS = 8;
const START_CAPACITY = 1_024;

/** What is known of an entry, in words one after another: where its bytes begin, … */
const WORDS = 4;
const HASH = 1;
/** … what the caller knows it by, and the place + 1 of the one before it in its chain, or 0. */
const TAG = 2;
const NEXT = 3;

export class SeenIds {
  readonly #random = randomFillSync(new Int32Array(DIGEST_BYTES));
  /** What is kept of the ids, one after the other in the order of adding. There is always room for one more. */
  #kept = new Uint8Array(START_CAPACITY * DIGEST_BYTES);
  /** `WORDS` an entry; of the one after the last there is the beginning. */
  #entries = new Uint32Array((START_CAPACITY + 1) * WORDS);
  /** Place + 1 of the last entry of each chain, or 0. As many chains as there is room for entries, a power of two. */
  #chains = new Uint32Array(START_CAPACITY);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Bytes that the table holds. */
  get bytes(): number {
    return this.#random.byteLength + this.#kept.byteLength + this.#entries.byteLength + this.#chains.byteLength;
  }

  /** Keeps `tag` (a whole number below 2^32) for an id that is new; else answers the tag it was first added with. */
  add(id: string, tag: number): number | undefined {
    if (id.length < DIGEST_BYTES) {
      const hashed = this.#write(id);
      if (hashed !== undefined) return this.#add(hashed, id.length, tag);
    }
    // In UTF-16, since as UTF-8 half surrogate pairs all become the same character.
    const digest = hash(DIGEST, Buffer.from(id, 'utf16le'), 'binary');
    return this.#add(this.#write(digest) ?? 0, DIGEST_BYTES, tag);
  }

  /** Writes the text behind what is kept, and answers its hash; undefined where a character takes more than a byte. */
  #write(text: string): number | undefined {
    const kept = this.#kept;
    const random = this.#random;
    const start = this.#entries[this.#size * WORDS] ?? 0;
    let sum = 0;
    let units = 0;
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      units |= unit;
      kept[start + at] = unit;
      // And 1, so that a text and the same with a character 0 behind it differ. No text is longer than the numbers.
      sum = (sum + Math.imul(random[at] as number, unit + 1)) | 0;
    }
    return units < BYTE_VALUES ? sum >>> DROPPED_BITS : undefined;
  }

  /** What was written last, so many bytes. */
  #add(hashed: number, bytes: number, tag: number): number | undefined {
    const entries = this.#entries;
    const chain = hashed & (this.#chains.length - 1);
    const last = this.#chains[chain] ?? 0;
    for (let place = last; place > 0; ) {
      const at = (place - 1) * WORDS;
      if (entries[at + HASH] === hashed && this.#isKeptAs(at, bytes)) return entries[at + TAG];
      place = entries[at + NEXT] ?? 0;
    }
    const at = this.#size * WORDS;
    entries[at + HASH] = hashed;
    entries[at + TAG] = tag;
    entries[at + NEXT] = last;
    entries[at + WORDS] = (entries[at] ?? 0) + bytes;
    this.#size++;
    this.#chains[chain] = this.#size;
    this.#makeRoom();
    return undefined;
  }

  /** Whether the entry is the same as what was written last. */
  #isKeptAs(at: number, bytes: number): boolean {
    const kept = this.#kept;
    const theirs = this.#entries[at] ?? 0;
    const ours = this.#entries[this.#size * WORDS] ?? 0;
    if ((this.#entries[at + WORDS] ?? 0) - theirs !== bytes) return false;
    for (let byte = 0; byte < bytes; byte++) if (kept[theirs + byte] !== kept[ours + byte]) return false;
    return true;
  }

  #makeRoom(): void {
    const used = this.#entries[this.#size * WORDS] ?? 0;
    if (used + DIGEST_BYTES > this.#kept.length) this.#kept = grown(this.#kept, new Uint8Array(this.#kept.length * 2));
    if (this.#size < this.#chains.length) return;
    const entries = grown(this.#entries, new Uint32Array((2 * this.#size + 1) * WORDS));
    const chains = new Uint32Array(2 * this.#size);
    for (let place = 0; place < this.#size; place++) {
      const chain = (entries[place * WORDS + HASH] ?? 0) & (chains.length - 1);
      entries[place * WORDS + NEXT] = chains[chain] ?? 0;
      chains[chain] = place + 1;
    }
    this.#entries = entries;
    this.#chains = chains;
  }
}

function grown<T extends Uint32Array | Uint8Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
