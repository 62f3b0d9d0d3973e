import type { VirtualTime } from './virtualTime.ts';

/**
 * The port with every call of it counted as real work, so that virtual time stands still meanwhile; what it answers
 * (a stream, an upload) is counted likewise.
 */
export function tracked<T extends object>(time: VirtualTime, port: T): T {
  return new Proxy(port, {
    get(target, name, receiver) {
      const member: unknown = Reflect.get(target, name, receiver);
      if (typeof member !== 'function') return member;
      return (...args: unknown[]) => {
        const answer: unknown = Reflect.apply(member, target, args);
        if (answer instanceof Promise) return time.during(() => answer).then((value) => trackedAnswer(time, value));
        return trackedAnswer(time, answer);
      };
    },
  });
}

function trackedAnswer(time: VirtualTime, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Symbol.asyncIterator in value) return trackedStream(time, value as AsyncIterable<unknown>);
  // A buffer has a `write`, too.
  if (value instanceof Uint8Array) return value;
  // An upload is an object of methods; a record has none.
  const hasMethods = typeof (value as { write?: unknown }).write === 'function';
  return hasMethods ? tracked(time, value) : value;
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
