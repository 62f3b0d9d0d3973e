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
        return time.during(async () => readAhead(await apply())).then((value) => trackedAnswer(time, value));
      };
    },
  });
}

/** What answers a stream, and no promise of one. */
export const STREAMS: ReadonlySet<string> = new Set(['shards.list', 'batches.listMissingDue']);

function trackedAnswer(time: VirtualTime, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  // A buffer has a `write`, too.
  if (value instanceof Uint8Array) return value;
  // An upload is an object of methods; a record has none.
  const hasMethods = typeof (value as { write?: unknown }).write === 'function';
  return hasMethods ? tracked(time, 'upload', value) : value;
}

/** Bytes come in pieces of the same size each time, wherever the network has cut them. */
const PIECE_BYTES = 64 * 1024;

/**
 * A body is read at once to its end: who asked for it may die, and would keep its connection from all others. What goes
 * wrong on the way is thrown where it did.
 */
async function readAhead(value: unknown): Promise<unknown> {
  if (typeof value !== 'object' || value === null || !(Symbol.asyncIterator in value)) return value;
  const chunks: Uint8Array[] = [];
  let fault: { error: unknown } | undefined;
  try {
    for await (const chunk of value as AsyncIterable<Uint8Array>) chunks.push(chunk);
  } catch (error) {
    fault = { error };
  }
  return pieces(Buffer.concat(chunks), fault);
}

async function* pieces(body: Uint8Array, fault: { error: unknown } | undefined): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < body.length; at += PIECE_BYTES) yield body.subarray(at, at + PIECE_BYTES);
  if (fault) throw fault.error;
}

async function* trackedStream(time: VirtualTime, stream: AsyncIterable<unknown>): AsyncGenerator<unknown> {
  const iterator = stream[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await time.during(() => iterator.next());
      if (next.done) return;
      yield next.value;
    }
  } finally {
    await time.during(async () => void (await iterator.return?.()));
  }
}
