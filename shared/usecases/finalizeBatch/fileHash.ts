import { createHash } from 'node:crypto';
import { createSHA256 } from 'hash-wasm';

/** The SHA-256 of a file that is being written. */
export type FileHash = {
  update(chunk: Uint8Array): void;
  hex(): string;
  /** What `resumableHash` goes on from; only its own can be left. */
  save?(): Uint8Array;
};

/** By the processor's own instructions: a quarter of the time of the other, which was a sixth of all that Finalize did. */
export function plainHash(): FileHash {
  const hash = createHash('sha256');
  return {
    update: (chunk) => {
      hash.update(chunk);
    },
    hex: () => hash.digest('hex'),
  };
}

/** In WebAssembly: its state fits a checkpoint, where node:crypto gives none away. */
export async function resumableHash(state?: Uint8Array): Promise<FileHash> {
  const hasher = await createSHA256();
  if (state) hasher.load(state);
  else hasher.init();
  return {
    update: (chunk) => {
      hasher.update(chunk);
    },
    hex: () => hasher.digest(),
    save: () => hasher.save(),
  };
}
