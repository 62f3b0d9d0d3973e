import type { ListKeysQuery } from '../contract/keys.ts';
import type { ApiKey } from '../domain/apiKey.ts';
import type { Ports } from '../ports.ts';

/** One page of API keys, newest first, of all projects or of one. */
export function listKeys(
  { apiKeys }: Pick<Ports, 'apiKeys'>,
  { take, after, project_id: projectId }: ListKeysQuery,
): Promise<{ keys: ApiKey[]; hasMore: boolean }> {
  return apiKeys.list({
    take,
    ...(after === undefined ? {} : { after }),
    ...(projectId === undefined ? {} : { projectId }),
  });
}
