import { setImmediate as nextTurn } from 'node:timers/promises';
import * as z from 'zod';
import type { FileStore, FileUpload } from '../../ports.ts';
import { type FileHash, plainHash, resumableHash } from './fileHash.ts';

/** Lines are gathered into blocks of this size: one hash update and one write each. */
const BLOCK_BYTES = 1024 * 1024;
const LF = 0x0a;

/** Bytes in a checkpoint, which is JSON. */
export const Base64 = z.base64().transform((text): Uint8Array => Buffer.from(text, 'base64'));

/** A result file in the middle of being written, as a checkpoint holds it. */
export const SuspendedFileSchema = z.object({
  upload: z.object({ uploadId: z.string(), parts: z.int(), bytes: z.int(), tail: Base64 }),
  hash: Base64,
  lines: z.int(),
});
export type SuspendedFile = z.input<typeof SuspendedFileSchema>;

export type WrittenFile = { key: string; bytes: number; sha256: string };

/**
 * `output.jsonl` or `errors.jsonl` while it is written: lines are copied as they are, hashed on the way. Nothing is
 * made where no line comes.
 */
export class ResultFile {
  readonly key: string;
  lines: number;
  readonly #files: Pick<FileStore, 'delete'>;
  readonly #hash: FileHash;
  readonly #upload: FileUpload;
  #block: Buffer = Buffer.alloc(0);
  #used = 0;
  #completed = false;

  private constructor(
    files: Pick<FileStore, 'delete'>,
    upload: FileUpload,
    key: string,
    hash: FileHash,
    lines: number,
  ) {
    this.#files = files;
    this.#upload = upload;
    this.key = key;
    this.#hash = hash;
    this.lines = lines;
  }

  /**
   * `resumable`: can be suspended, which costs time. Throws `FileMissing` where what was saved can no longer be gone on
   * with.
   */
  static async open(
    files: Pick<FileStore, 'upload' | 'delete'>,
    key: string,
    resumable: boolean,
    saved?: z.output<typeof SuspendedFileSchema>,
  ): Promise<ResultFile> {
    const hash = resumable ? await resumableHash(saved?.hash) : plainHash();
    const upload = await files.upload(key, {
      contentType: 'application/jsonl',
      ...(saved ? { resume: saved.upload } : {}),
    });
    return new ResultFile(files, upload, key, hash, saved?.lines ?? 0);
  }

  /** Adds a line; a promise where the caller has to wait before the next. */
  append(json: Uint8Array): Promise<void> | undefined {
    this.lines++;
    if (this.#used + json.length + 1 > this.#block.length) return this.#appendToNext(json);
    this.#copy(json);
    return undefined;
  }

  /** Stops here; undefined where no line came. */
  async suspend(): Promise<SuspendedFile | undefined> {
    if (!this.#hash.save) throw new Error(`The file ${this.key} was not opened to be suspended`);
    if (this.lines === 0) return undefined;
    await this.#flush();
    const upload = await this.#upload.suspend();
    return {
      upload: { ...upload, tail: Buffer.from(upload.tail).toString('base64') },
      hash: Buffer.from(this.#hash.save()).toString('base64'),
      lines: this.lines,
    };
  }

  /** Ends the file; undefined where no line came. */
  async complete(): Promise<WrittenFile | undefined> {
    if (this.lines === 0) return undefined;
    await this.#flush();
    const { bytes } = await this.#upload.complete();
    this.#completed = true;
    return { key: this.key, bytes, sha256: this.#hash.hex() };
  }

  /** Leaves nothing behind, whether it was completed or not. */
  async discard(): Promise<void> {
    if (this.#completed) await this.#files.delete([this.key]);
    else await this.#upload.abort();
  }

  async #appendToNext(json: Uint8Array): Promise<void> {
    await this.#flush();
    if (this.#block.length < json.length + 1) this.#block = Buffer.allocUnsafe(Math.max(BLOCK_BYTES, json.length + 1));
    this.#copy(json);
  }

  #copy(json: Uint8Array): void {
    this.#block.set(json, this.#used);
    this.#used += json.length;
    this.#block[this.#used++] = LF;
  }

  async #flush(): Promise<void> {
    if (this.#used === 0) return;
    const chunk = this.#block.subarray(0, this.#used);
    this.#used = 0;
    this.#hash.update(chunk);
    await this.#upload.write(chunk);
    // Else nothing would be sent or received for as long as there are lines at hand, which is eight segments.
    await nextTurn();
  }
}
