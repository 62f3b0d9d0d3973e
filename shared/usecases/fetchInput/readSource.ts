import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { InputRejected } from '../../domain/errors.ts';
import type { OpenedSource, Ports } from '../../ports.ts';

/** Reconnections in a row that brought not one byte, and the pauses before them. */
const PAUSES_MS = [500, 2_000, 5_000, 10_000, 20_000];

/** The source broke off, and cannot be gone on with where it did. */
export class BrokenOff extends Error {
  override readonly name = 'BrokenOff';
  readonly rejection: InputRejected;
  constructor(rejection: InputRejected) {
    super(rejection.message, { cause: rejection });
    this.rejection = rejection;
  }
}

export function canResume(
  source: Pick<OpenedSource, 'acceptsRanges' | 'etag'>,
): source is { etag: string } & OpenedSource {
  return source.acceptsRanges && source.etag !== undefined;
}

/**
 * The bytes of an opened source from `start` on. Where the connection breaks it is opened again at the byte that is
 * missing, if the source serves ranges of what is surely the same file; else `BrokenOff` is thrown.
 */
export async function* readThrough(
  deps: Pick<Ports, 'sources' | 'clock' | 'log'>,
  url: string,
  opened: OpenedSource,
  start: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  let position = start;
  let source: OpenedSource | undefined = opened;
  let fruitless = 0;
  for (;;) {
    let broken: InputRejected;
    try {
      source ??= await reopen(deps.sources, url, position, opened.etag, signal);
      for await (const chunk of source.body) {
        position += chunk.length;
        fruitless = 0;
        yield chunk;
      }
      if (opened.bytes === undefined) return;
      broken = new InputRejected(
        'input_file_unreachable',
        `The input file broke off after ${position} of ${opened.bytes} bytes.`,
      );
    } catch (error) {
      // A connection that we have broken off ourselves is no fault of the source.
      signal.throwIfAborted();
      if (!(error instanceof InputRejected) || error.code !== 'input_file_unreachable') throw error;
      broken = error;
    }
    if (opened.bytes !== undefined && position >= opened.bytes) return;
    if (!canResume(opened)) throw new BrokenOff(broken);
    const pauseMs = PAUSES_MS[fruitless++];
    if (pauseMs === undefined) throw broken;
    deps.log.info('The source broke off and is opened again.', { position, fruitless });
    await deps.clock.sleep(pauseMs, signal);
    source = undefined;
  }
}

/**
 * Opens a source to go on at byte `position`. The byte before it is asked for as well and passed over: where the length
 * is not known, `position` may be the very end, and no server has a range that starts there.
 */
export async function reopen(
  sources: Pick<Ports['sources'], 'open'>,
  url: string,
  position: number,
  etag: string | undefined,
  signal: AbortSignal,
): Promise<OpenedSource> {
  const start = Math.max(position - 1, 0);
  const opened = await sources.open(url, { start, signal, ...(etag === undefined ? {} : { ifRange: etag }) });
  return position === start ? opened : { ...opened, body: withoutFirst(opened.body) };
}

async function* withoutFirst(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  let passed = false;
  for await (const chunk of body) {
    const rest = passed ? chunk : chunk.subarray(1);
    passed ||= chunk.length > 0;
    if (rest.length > 0) yield rest;
  }
}

export const GZIP_MAGIC = [0x1f, 0x8b] as const;

/** No JSONL starts with these two bytes: the second cannot begin a character of UTF-8. */
export function isGzip(start: Uint8Array): boolean {
  return start[0] === GZIP_MAGIC[0] && start[1] === GZIP_MAGIC[1];
}

export type Peeked = {
  /** The first bytes: enough to tell whether they are gzip. */
  start: Uint8Array;
  /** All bytes, those included. */
  chunks: AsyncGenerator<Uint8Array, void, undefined>;
  /** Lets go of a source that is not read on. */
  close(): Promise<void>;
};

export async function peek(source: AsyncIterable<Uint8Array>): Promise<Peeked> {
  const iterator = source[Symbol.asyncIterator]();
  const rest: AsyncIterable<Uint8Array> = { [Symbol.asyncIterator]: () => iterator };
  let start = Buffer.alloc(0);
  while (start.length === 0 || (start.length === 1 && start[0] === GZIP_MAGIC[0])) {
    const next = await iterator.next();
    if (next.done) break;
    start = start.length === 0 ? Buffer.from(next.value) : Buffer.concat([start, next.value]);
  }
  async function* all() {
    if (start.length > 0) yield start;
    yield* rest;
  }
  return {
    start,
    chunks: all(),
    async close() {
      await iterator.return?.();
    },
  };
}

/** What a gzip stream holds; a damaged one is an `InputRejected`. What `chunks` throws comes through as it is. */
export async function* unpack(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const gunzip = createGunzip();
  // The callback must be there for errors to be taken; they come out of the loop below.
  pipeline(Readable.from(chunks), gunzip, () => undefined);
  try {
    yield* gunzip as AsyncIterable<Uint8Array>;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'Z_BUF_ERROR')
      throw new InputRejected('invalid_value', 'The gzip file is cut off: it ends before its data does.', {
        cause: error,
      });
    if (typeof code === 'string' && code.startsWith('Z_'))
      throw new InputRejected('invalid_value', 'The gzip file is damaged and cannot be unpacked.', { cause: error });
    throw error;
  }
}
