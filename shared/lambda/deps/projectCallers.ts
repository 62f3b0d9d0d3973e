import type { Settings } from '../../contract/settings.ts';
import type { Ports } from '../../ports.ts';
import { authenticate } from '../../usecases/authenticate.ts';
import { requestQuota } from '../../usecases/requestQuota.ts';

/** How a project is recognized: by an API key, or by the token verifier of a deployment that has one; and its quota. */
export function projectCallers(
  deps: Pick<Ports, 'apiKeys' | 'quotas' | 'clock' | 'log'> & Partial<Pick<Ports, 'tokens'>> & { settings: Settings },
) {
  return {
    authenticate: (authorization: string | undefined) => authenticate(deps, authorization),
    admit: requestQuota(deps),
  };
}
