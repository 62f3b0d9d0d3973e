import dns from 'node:dns';
import type { LookupFunction } from 'node:net';
import { isBlockedPort } from '../../domain/blockedPorts.ts';
import { addressLiteral, isLocalhost, isPublicAddress } from '../../domain/publicAddress.ts';

/**
 * Invariant 6: no request leaves for an address that is not public, unless the deployment allows private networks.
 *
 * The check sits in the connector, so that no request can pass it by: a name is resolved once, by the `lookup` of the
 * very connection, every address that comes back is checked, and only those are connected to. A name that changes
 * between check and connect (DNS rebinding) has no gap to slip through, and each hop of a redirect connects anew. TLS
 * and the Host header keep the name.
 */
export type GuardOptions = {
  allowPrivateNetworks: boolean;
  /** Resolves a name to all its addresses. Defaults to the system's resolver. */
  resolve?: (hostname: string) => Promise<{ address: string; family: number }[]>;
  /** Which addresses may be connected to. Tests name their own; defaults to `isPublicAddress`. */
  isAllowed?: (address: string) => boolean;
  /** Extra certificate authorities, in PEM. */
  ca?: string;
};

/** The target is not one that this deployment connects to. The message is fit for the client. */
export class TargetRefused extends Error {
  override readonly name = 'TargetRefused';
}

/**
 * Parses the URL and refuses what can be seen without resolving: other schemes, credentials, literals that are not
 * public, ports of other protocols. The WHATWG parser has already made `0x7f.1`, `2130706433`, `127.1` and `127.0.0.1.`
 * into `127.0.0.1`.
 */
export function parseTarget(text: string, options: GuardOptions): URL {
  if (!URL.canParse(text)) throw new TargetRefused('The URL cannot be parsed.');
  const url = new URL(text);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && options.allowPrivateNetworks)) {
    const wanted = options.allowPrivateNetworks ? 'http:// or https://' : 'https://';
    throw new TargetRefused(`The URL must start with ${wanted}.`);
  }
  if (url.username !== '' || url.password !== '') throw new TargetRefused('The URL must not hold credentials.');
  const literal = addressLiteral(url.hostname);
  if (literal !== undefined && !allows(options, literal)) throw new TargetRefused(notPublic(url.hostname));
  if (options.allowPrivateNetworks) return url;
  if (isLocalhost(url.hostname)) throw new TargetRefused(notPublic(url.hostname));
  if (isBlockedPort(url)) throw new TargetRefused(`The port ${url.port} belongs to another protocol than HTTP.`);
  return url;
}

/** For the connections of Node's own clients and of `createGuardedAgent`. */
export function guardedLookup(options: GuardOptions): LookupFunction {
  const resolve = options.resolve ?? ((hostname) => dns.promises.lookup(hostname, { all: true }));
  return (hostname, wanted, callback) => {
    resolve(hostname).then(
      (addresses) => {
        const first = addresses[0];
        const refused = addresses.find(({ address }) => !allows(options, address));
        if (first === undefined) callback(Object.assign(new Error('No address'), { code: 'ENOTFOUND' }), '');
        // One bad address among good ones refuses all: which one gets tried is not left to chance.
        else if (refused) callback(new TargetRefused(notPublic(hostname)), '');
        else if (wanted.all) callback(null, addresses);
        else callback(null, first.address, first.family);
      },
      (error: NodeJS.ErrnoException) => callback(error, ''),
    );
  };
}

export function allows(options: GuardOptions, address: string): boolean {
  return options.allowPrivateNetworks || (options.isAllowed ?? isPublicAddress)(address);
}

export function notPublic(hostname: string): string {
  return `The host ${hostname} is not at a public address.`;
}
