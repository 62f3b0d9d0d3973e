import { createSecretsClient } from '../../adapters/secrets/client.ts';
import { createOperatorKey } from '../../adapters/secrets/operatorKey.ts';
import { authenticateOperator } from '../../usecases/authenticate.ts';
import { metered } from '../metering.ts';

/** How an operator is recognized: by the key in this secret. */
export function operatorCallers(secretArn: string) {
  const operatorKey = createOperatorKey({ client: metered('secrets', createSecretsClient()), secretArn });
  return {
    authenticateOperator: (managementKey: string | undefined) => authenticateOperator({ operatorKey }, managementKey),
  };
}
