import type { Settings } from '../../contract/settings.ts';
import type { Ports } from '../../ports.ts';
import { authenticate } from '../../usecases/authenticate.ts';
import { tokenPorts } from './tokens.ts';

/** How a project is recognized: by an API key, or by a token of the stage's issuer, where it names one. */
export function projectCallers(deps: Pick<Ports, 'apiKeys' | 'clock' | 'log'> & { settings: Settings }) {
  const ports = { ...deps, ...tokenPorts(deps) };
  return { authenticate: (authorization: string | undefined) => authenticate(ports, authorization) };
}
