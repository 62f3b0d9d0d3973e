import { readJsonDocument } from '../../adapters/net/jsonDocument.ts';
import { createTokenVerifier } from '../../adapters/tokens/tokenVerifier.ts';
import type { Settings } from '../../contract/settings.ts';
import type { Ports } from '../../ports.ts';

/** An issuer's key set is a few KB; Entra's, one of the largest, 20. */
const KEY_SET_BYTES = 256 * 1024;
/** A route has 29 s, and its caller waits. */
const KEY_SET_TIMEOUT_MS = 5_000;

/** The verifier of a stage that names an issuer; none of one that takes API keys alone. */
export function tokenPorts({
  settings,
  log,
  clock,
}: Pick<Ports, 'clock' | 'log'> & { settings: Settings }): Partial<Pick<Ports, 'tokens'>> {
  const { tokens, allowPrivateNetworks } = settings;
  if (tokens === undefined) return {};
  const limits = { allowPrivateNetworks, timeoutMs: KEY_SET_TIMEOUT_MS, maxBytes: KEY_SET_BYTES };
  const read = () => readJsonDocument(tokens.jwksUrl, limits);
  return { tokens: createTokenVerifier({ tokens, read, log, now: clock.now }) };
}
