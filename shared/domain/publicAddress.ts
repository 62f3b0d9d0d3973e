import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/**
 * True for an address of the public internet. ipaddr.js knows the special ranges (IANA's registries; a superset of
 * RFC 6890); what is not plain unicast is refused. An IPv4 address inside an IPv6 one is judged by itself.
 */
export function isPublicAddress(text: string): boolean {
  // Node's notion of an address: ipaddr.js also reads `1.2.3` and `0x7f.1` as one.
  if (isIP(text) === 0) return false;
  const address = ipaddr.parse(text);
  if (address instanceof ipaddr.IPv4) return address.range() === 'unicast';
  const embedded = embeddedIPv4(address);
  if (embedded) return embedded.range() === 'unicast';
  // Global unicast is 2000::/3 (RFC 4291 2.4); the rest is unassigned, or special in a way ipaddr.js may not know yet.
  return address.range() === 'unicast' && address.match(GLOBAL_UNICAST);
}

const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR('2000::/3');
/** ::ffff:0:0/96 (RFC 4291) and 64:ff9b::/96 (RFC 6052) end in the IPv4 address. 6to4 and Teredo are refused whole. */
const EMBEDDING = [ipaddr.IPv6.parseCIDR('::ffff:0:0/96'), ipaddr.IPv6.parseCIDR('64:ff9b::/96')];

function embeddedIPv4(address: ipaddr.IPv6): ipaddr.IPv4 | undefined {
  if (!EMBEDDING.some((range) => address.match(range))) return undefined;
  return new ipaddr.IPv4(address.toByteArray().slice(12));
}

/** The address in a URL's host that is one; there IPv6 stands in brackets, and any way to write IPv4 is made plain. */
export function addressLiteral(hostname: string): string | undefined {
  const bare = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  return isIP(bare) === 0 ? undefined : bare;
}

/** Loopback by definition (RFC 6761 6.3), whatever a resolver makes of it. */
export function isLocalhost(hostname: string): boolean {
  return /(^|\.)localhost\.?$/i.test(hostname);
}
