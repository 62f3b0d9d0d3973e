import type { VirtualTime } from './virtualTime.ts';

/**
 * The port with every call of it counted as real work, so that virtual time stands still meanwhile; what it answers
 * (a stream, an upload) is counted likewise.
 */
export function tracked<T extends object>(time: VirtualTime, portName: string, port: T): T {
  return new Proxy(port, {
    get(target, name, receiver) {
      const member: unknown = Reflect.get(target, name, receiver);
      if (typeof member !== 'function') return member;
      return (...args: unknown[]) => {
        const apply = (): unknown => Reflect.apply(member, target, args);
        if (STREAMS.has(`${portName}.${String(name)}`)) return trackedStream(time, apply() as AsyncIterable<unknown>);
        return time.during(async () => await apply()).then((value) => trackedAnswer(time, value));
      };
    },
  });
}

/** What answers a stream, and no promise of one. */
export const STREAMS: ReadonlySet<string> = new Set(['shards.list', 'batches.listMissingDue']);

function trackedAnswer(time: VirtualTime, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Symbol.asyncIterator in value) return trackedStream(time, value as AsyncIterable<unknown>);
  // A buffer has a `write`, too.
  if (value instanceof Uint8Array) return value;
  // An upload is an object of methods; a record has none.
  const hasMethods = typeof (value as { write?: unknown }).write === 'function';
  return hasMethods ? tracked(time, 'upload', value) : value;
}

/** Bytes come in pieces of the same size each time, wherever the network has cut them. */
const PIECE_BYTES = 64 * 1024;

async function* trackedStream(time: VirtualTime, stream: AsyncIterable<unknown>): AsyncGenerator<unknown> {
  const iterator = stream[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array();
  try {
    for (let done = false; !done; ) {
      const pulled = await time.during(() => pull(iterator, rest));
      done = pulled.done;
      rest = pulled.rest;
      yield* pulled.values;
    }
  } finally {
    await time.during(async () => void (await iterator.return?.()));
  }
}

type Pulled = { values: unknown[]; rest: Uint8Array; done: boolean };

/** The next value, or the next piece of bytes; at the end whatever is left. */
async function pull(iterator: AsyncIterator<unknown>, rest: Uint8Array): Promise<Pulled> {
  let bytes = rest;
  for (;;) {
    if (bytes.length >= PIECE_BYTES)
      return { values: [bytes.subarray(0, PIECE_BYTES)], rest: bytes.subarray(PIECE_BYTES), done: false };
    const next = await iterator.next();
    if (next.done) return { values: bytes.length > 0 ? [bytes] : [], rest: bytes, done: true };
    if (!(next.value instanceof Uint8Array)) return { values: [next.value], rest: bytes, done: false };
    // A copy in any case: a chunk may be good only until the next is asked for.
    bytes = Buffer.concat([bytes, next.value]);
  }
}
