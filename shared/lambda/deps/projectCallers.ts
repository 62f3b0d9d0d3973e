import type { Ports } from '../../ports.ts';
import { authenticate } from '../../usecases/authenticate.ts';

/** How a project is recognized: by an API key, or by the token verifier of a deployment that has one. */
export function projectCallers(deps: Pick<Ports, 'apiKeys' | 'clock'> & Partial<Pick<Ports, 'tokens'>>) {
  return { authenticate: (authorization: string | undefined) => authenticate(deps, authorization) };
}
