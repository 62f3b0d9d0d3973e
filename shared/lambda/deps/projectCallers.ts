import type { Settings } from '../../contract/settings.ts';
import type { Ports } from '../../ports.ts';
import { authenticate } from '../../usecases/authenticate.ts';
import { requestQuota } from '../../usecases/requestQuota.ts';
import { tokenPorts } from './tokens.ts';

/**
 * How a project is recognized: by an API key, or by a token of the stage's issuer, where it names one; and its quota of
 * requests.
 */
export function projectCallers(deps: Pick<Ports, 'apiKeys' | 'quotas' | 'clock' | 'log'> & { settings: Settings }) {
  const ports = { ...deps, ...tokenPorts(deps) };
  return {
    authenticate: (authorization: string | undefined) => authenticate(ports, authorization),
    admit: requestQuota(deps),
  };
}
