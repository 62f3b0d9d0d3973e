/**
 * Who wants to know of a signal: one listener of its own for all, since a worker's calls share one signal, and adding
 * and removing a listener for each costs more than the call's own bookkeeping. In an array, where each knows its place:
 * a set keeps those that were deleted until the collector has gone through all of its heap.
 */
export type AbortListener = { onAbort(reason: unknown): void; place: number };
const listenersBySignal = new WeakMap<AbortSignal, AbortListener[]>();

export function listenTo(signal: AbortSignal | undefined, listener: AbortListener): void {
  if (!signal) return;
  let listeners = listenersBySignal.get(signal);
  if (!listeners) {
    const all: AbortListener[] = [];
    signal.addEventListener('abort', () => all.slice().forEach((each) => void each.onAbort(signal.reason)), {
      once: true,
    });
    listenersBySignal.set(signal, all);
    listeners = all;
  }
  listener.place = listeners.push(listener) - 1;
}

/** What `listenTo` was called for, once. */
export function unlisten(signal: AbortSignal | undefined, listener: AbortListener): void {
  const listeners = signal && listenersBySignal.get(signal);
  const last = listeners?.pop();
  if (!listeners || !last || last === listener) return;
  // The last one takes its place.
  last.place = listener.place;
  listeners[listener.place] = last;
}
