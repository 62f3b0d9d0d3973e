import { constants, createHash, sign as signBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startSecretsManager } from '../../../local/secrets/server.ts';
import { startStepFunctions } from '../../../local/stepfunctions/server.ts';
import { type RouteName, routes } from '../../../shared/contract/routes.ts';
import type { HttpEvent, HttpResult } from '../../../shared/lambda/http/event.ts';
import { startDynalite } from '../../support/dynalite.ts';
import type { lambdaContext } from '../../support/httpEvents.ts';
import { LOCAL_S3, startLocalS3 } from '../../support/localS3.ts';
import { aBatch } from '../../support/records.ts';
import { tablePortsOn } from '../../support/tablePorts.ts';
import { startTokenIssuer } from '../../support/tokenIssuer.ts';

type Handler = (event: HttpEvent, context: ReturnType<typeof lambdaContext>) => Promise<HttpResult>;
export type ApiWorld = Awaited<ReturnType<typeof startApiWorld>>;

export const API_KEY = 'plai_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG';
export const OPERATOR_KEY = 'operator-key-0123456789';
export const PROJECT = 'acme';
/** Of this project, and ended. */
export const ENDED_BATCH = 'batch_01J9ZQ3V6B8R4M2N7K5T1W0XYZ';
const KEY_ID = 'key_01J9ZQ3V6B8R4M2N7K5T1W0XYZ';

const SECRET_ARN = 'arn:aws:secretsmanager:us-east-1:000000000000:secret:operator-key';
const MACHINE_ARN = 'arn:aws:states:us-east-1:000000000000:stateMachine:ends-at-once';

/**
 * Every function behind the API as it is deployed, on real stores, with a real issuer of tokens. Once in a process: the
 * functions read their environment when they are loaded.
 */
export async function startApiWorld() {
  const dataDir = await mkdtemp(join(tmpdir(), 'batch-api-fuzz-'));
  const [table, s3, issuer] = await Promise.all([startDynalite(), startLocalS3(), startTokenIssuer()]);
  const secrets = await startSecretsManager({
    dataDir,
    secrets: [{ arn: SECRET_ARN, name: 'operator-key', value: OPERATOR_KEY }],
  });
  const machine = { StartAt: 'End', States: { End: { Type: 'Succeed' } } };
  const states = await startStepFunctions({
    dataDir,
    region: LOCAL_S3.region,
    machines: [{ arn: MACHINE_ARN, name: 'ends-at-once', definition: machine }],
    invokeFunction: () => Promise.reject(new Error('The machine calls no function')),
    s3: { endpoint: s3.url, credentials: LOCAL_S3.credentials },
  });

  const { apiKeys, batches } = tablePortsOn(table);
  await apiKeys.put({
    keyId: KEY_ID,
    hash: createHash('sha256').update(API_KEY).digest('hex'),
    prefix: API_KEY.slice(0, 9),
    projectId: PROJECT,
    role: 'owner',
    name: 'fuzz',
    createdAt: Date.now(),
  });
  const receipt = { lines: 0, completed: 0, failed: 0, input: null, output: null, errors: null };
  await batches.create(
    aBatch({ projectId: PROJECT, batchId: ENDED_BATCH, status: 'completed' }, { detail: { receipt } }),
  );

  const handlers = await deployed({
    SETTINGS: JSON.stringify({
      logLevel: 'ERROR',
      allowPrivateNetworks: true,
      tokens: issuer.tokens,
      // What is refused for its number says nothing of what it holds.
      quotas: { requestsPerMinute: 1e9, openBatches: 1000, uploadsPerDay: 1e9, uploadBytesPerDay: 1e15 },
    }),
    SERVICE_VERSION: '0.0.0',
    TABLE_NAME: table.tableName,
    BUCKET_NAME: s3.bucket,
    BATCH_MACHINE_ARN: MACHINE_ARN,
    NOTIFICATION_MACHINE_ARN: MACHINE_ARN,
    SNAPSHOT_MACHINE_ARN: MACHINE_ARN,
    OPERATOR_KEY_SECRET_ARN: SECRET_ARN,
    AWS_REGION: LOCAL_S3.region,
    AWS_ACCESS_KEY_ID: LOCAL_S3.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: LOCAL_S3.credentials.secretAccessKey,
    AWS_ENDPOINT_URL_DYNAMODB: table.endpoint,
    AWS_ENDPOINT_URL_S3: s3.url,
    AWS_ENDPOINT_URL_SFN: states.url,
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
  });

  const { RS256, ES256 } = issuer.keys;
  /** A token of these very bytes, signed by the issuer, whatever they are. */
  async function signed(header: string, payload: string): Promise<string> {
    const text = [header, payload].map((part) => Buffer.from(part, 'latin1').toString('base64url')).join('.');
    const key = await crypto.subtle.exportKey('jwk', RS256.privateKey);
    const signature = signBytes('sha256', Buffer.from(text), {
      key: key as never,
      format: 'jwk',
      padding: constants.RSA_PKCS1_PADDING,
    });
    return `${text}.${signature.toString('base64url')}`;
  }

  return {
    handlers,
    signed,
    tokens: issuer.tokens,
    header: JSON.stringify({ alg: RS256.alg, kid: RS256.kid }),
    claims: JSON.stringify(issuer.claimsOf({ exp: Math.floor(Date.now() / 1000) + 86_400 })),
    valid: { RS256: await issuer.sign(), ES256: await issuer.sign({ key: ES256 }) },
    async close() {
      await Promise.all([states.close(), secrets.close()]);
      await Promise.all([table.close(), s3.close(), issuer.close()]);
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function deployed(variables: Record<string, string>): Promise<Record<RouteName, Handler>> {
  // Each function listens for its process's end, and here they share one.
  process.setMaxListeners(50);
  Object.assign(process.env, variables);
  const names = Object.keys(routes) as RouteName[];
  const loaded = names.map(
    async (name) => [name, (await import(`../../../functions/http/${name}.ts`)).handler] as const,
  );
  return Object.fromEntries(await Promise.all(loaded)) as Record<RouteName, Handler>;
}
