// Stands for `undici` in the bundles: the dispatchers without fetch, WebSocket, caches, proxies and mocks, which the
// package's own index always loads. A handler that imports another name of it does not build: the name goes in here.
import api from 'undici/lib/api/index.js';
import Dispatcher from 'undici/lib/dispatcher/dispatcher.js';

export { default as buildConnector } from 'undici/lib/core/connect.js';
export { default as errors } from 'undici/lib/core/errors.js';
export { default as Agent } from 'undici/lib/dispatcher/agent.js';
export { default as Client } from 'undici/lib/dispatcher/client.js';

// As undici's index does it: `pool.request` and its like.
Object.assign(Dispatcher.prototype, api);

/** As undici's, but for the global dispatcher: whoever asks says by which one (adapters/net/guard.ts makes them). */
export function request(url, { dispatcher, ...options }) {
  const { origin, pathname, search } = new URL(url);
  const method = options.method ?? (options.body ? 'PUT' : 'GET');
  return dispatcher.request({ ...options, origin, path: `${pathname}${search}`, method });
}
