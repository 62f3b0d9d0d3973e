import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { createOperatorKey } from '../../adapters/secrets/operatorKey.ts';
import { authenticateOperator } from '../../usecases/authenticate.ts';

/** How an operator is recognized: by the key in this secret. */
export function operatorCallers(secretArn: string) {
  const operatorKey = createOperatorKey({ client: new SecretsManagerClient({}), secretArn });
  return {
    authenticateOperator: (managementKey: string | undefined) => authenticateOperator({ operatorKey }, managementKey),
  };
}
