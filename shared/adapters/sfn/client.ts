import { SFNClient, type SFNClientConfig } from '@aws-sdk/client-sfn';

/** Where it connects to comes from the SDK's own variables (`AWS_ENDPOINT_URL_SFN`) or from `config`. */
export function createWorkflowClient(config: SFNClientConfig = {}): SFNClient {
  return new SFNClient({
    // DescribeExecution and StopExecution are 10 to 15 a second for the whole account, and the check looks at many
    // batches in a row: five retries with jitter outlast a second of throttling, the SDK's default of 3 attempts
    // does not.
    maxAttempts: 6,
    retryMode: 'standard',
    requestHandler: {
      // 5 s for an answer that takes tens of milliseconds; with the retries that still ends before the 29 s that an
      // API handler has, unless every single try hangs.
      connectionTimeout: 1_000,
      requestTimeout: 5_000,
      throwOnRequestTimeout: true,
    },
    ...config,
  });
}
