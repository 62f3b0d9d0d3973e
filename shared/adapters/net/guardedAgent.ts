import type { ConnectionOptions } from 'node:tls';
import { Agent, buildConnector } from 'undici';
import { addressLiteral } from '../../domain/publicAddress.ts';
import { allows, type GuardOptions, guardedLookup, notPublic, TargetRefused } from './guard.ts';

/** An agent whose connections reach allowed addresses only. Close it when done. */
export function createGuardedAgent(
  options: GuardOptions,
  timeouts: { connectMs: number; headMs?: number; bodyMs?: number },
): Agent {
  const connect = buildConnector({
    timeout: timeouts.connectMs,
    allowH2: false,
    lookup: guardedLookup(options),
    ...(options.ca === undefined ? {} : ({ ca: options.ca } satisfies ConnectionOptions)),
  });
  return new Agent({
    ...(timeouts.headMs === undefined ? {} : { headersTimeout: timeouts.headMs }),
    ...(timeouts.bodyMs === undefined ? {} : { bodyTimeout: timeouts.bodyMs }),
    connect(target, callback) {
      // Node never calls `lookup` for an address literal, so that is checked here.
      const literal = addressLiteral(target.hostname);
      if (literal !== undefined && !allows(options, literal)) {
        queueMicrotask(() => callback(new TargetRefused(notPublic(target.hostname)), null));
        return;
      }
      connect(target, callback);
    },
  });
}
