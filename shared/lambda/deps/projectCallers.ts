import { readJsonDocument } from '../../adapters/net/jsonDocument.ts';
import { createTokenVerifier } from '../../adapters/tokens/tokenVerifier.ts';
import type { Settings } from '../../contract/settings.ts';
import type { Ports } from '../../ports.ts';
import { authenticate } from '../../usecases/authenticate.ts';
import { requestQuota } from '../../usecases/requestQuota.ts';

/** An issuer's key set is a few KB; Entra's, one of the largest, 20. */
const KEY_SET_BYTES = 256 * 1024;
/** A route has 29 s, and its caller waits. */
const KEY_SET_TIMEOUT_MS = 5_000;

/**
 * How a project is recognized: by an API key, or by a token of the stage's issuer, where it names one; and its quota of
 * requests.
 */
export function projectCallers(deps: Pick<Ports, 'apiKeys' | 'quotas' | 'clock' | 'log'> & { settings: Settings }) {
  const tokens = tokenPorts(deps);
  return {
    authenticate: (authorization: string | undefined) => authenticate({ ...deps, ...tokens }, authorization),
    admit: requestQuota(deps),
  };
}

function tokenPorts({ settings, log, clock }: Parameters<typeof projectCallers>[0]): Partial<Pick<Ports, 'tokens'>> {
  const { tokens, allowPrivateNetworks } = settings;
  if (tokens === undefined) return {};
  const limits = { allowPrivateNetworks, timeoutMs: KEY_SET_TIMEOUT_MS, maxBytes: KEY_SET_BYTES };
  const read = () => readJsonDocument(tokens.jwksUrl, limits);
  return { tokens: createTokenVerifier({ tokens, read, log, now: clock.now }) };
}
