import { SecretsManagerClient, type SecretsManagerClientConfig } from '@aws-sdk/client-secrets-manager';

/** Where it connects to comes from the SDK's own variables (`AWS_ENDPOINT_URL_SECRETS_MANAGER`) or from `config`. */
export function createSecretsClient(config: SecretsManagerClientConfig = {}): SecretsManagerClient {
  return new SecretsManagerClient({
    retryMode: 'standard',
    maxAttempts: 4,
    // Answers come in tens of milliseconds; a request of ours waits for this one.
    requestHandler: { connectionTimeout: 1_000, requestTimeout: 5_000, throwOnRequestTimeout: true },
    ...config,
  });
}
