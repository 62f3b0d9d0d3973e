import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  GetSecretValueCommand,
  PutSecretValueCommand,
  ResourceNotFoundException,
  type SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { mockClient } from 'aws-sdk-client-mock';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { AwsJsonServer } from '../../local/awsJson.ts';
import { startSecretsManager } from '../../local/secrets/server.ts';
import { createSecretsClient } from '../../shared/adapters/secrets/client.ts';
import { createModelKeys } from '../../shared/adapters/secrets/modelKeys.ts';
import { createOperatorKey } from '../../shared/adapters/secrets/operatorKey.ts';
import { LOCAL_S3 } from '../support/localS3.ts';

const { region, credentials } = LOCAL_S3;
const arnOf = (name: string) => `arn:aws:secretsmanager:us-east-1:000000000000:secret:${name}`;

describe('the secrets on Secrets Manager as the local run speaks it', () => {
  let dataDir: string;
  let server: AwsJsonServer;
  let client: SecretsManagerClient;
  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'secrets-'));
    server = await startSecretsManager({
      dataDir,
      secrets: [
        { arn: arnOf('operator'), name: 'operator', generate: {} },
        { arn: arnOf('openai'), name: 'openai', value: 'model-key' },
        { arn: arnOf('empty'), name: 'empty' },
      ],
    });
    client = createSecretsClient({ endpoint: server.url, region, credentials });
  });
  afterEach(async () => {
    client.destroy();
    await server.close();
    await rm(dataDir, { recursive: true, force: true });
  });

  /** What a function accepts that read the secret just now. */
  const accepted = (now?: () => number) =>
    createOperatorKey({ client, secretArn: arnOf('operator'), ...(now && { now }) }).accepted();
  const rotate = (SecretString: string) =>
    client.send(new PutSecretValueCommand({ SecretId: arnOf('operator'), SecretString }));

  test('the operator key is the text of its secret, and the one before it for a day', async () => {
    const [generated = ''] = await accepted();
    expect(generated).toHaveLength(32);
    await rotate('second\n');
    expect(await accepted()).toEqual(['second', generated]);
    expect(await accepted(() => Date.now() + DAY_MS - 60_000)).toEqual(['second', generated]);
    expect(await accepted(() => Date.now() + DAY_MS)).toEqual(['second']);
  });

  test('an operator key that leaked is rotated out by doing it twice', async () => {
    const [leaked] = await accepted();
    await rotate('second');
    await rotate('third');
    expect(await accepted()).toEqual(['third', 'second']);
    expect(await accepted()).not.toContain(leaked);
  });

  test('a model key is found by its provider; a provider without a secret has none', async () => {
    const keys = createModelKeys({ client, secretArns: { openai: arnOf('openai') } });
    expect(await keys.get('openai')).toBe('model-key');
    expect(await keys.get('simulator')).toBeUndefined();
    expect(await keys.get('toString')).toBeUndefined();
  });

  test('a secret without a value is an error, not an empty key', async () => {
    const key = createOperatorKey({ client, secretArn: arnOf('empty') });
    await expect(key.accepted()).rejects.toMatchObject({ name: 'ResourceNotFoundException' });
  });
});

const DAY_MS = 24 * 3_600_000;

describe('how often secrets are read', () => {
  const client = createSecretsClient({ region, credentials });
  const mock = mockClient(client);
  beforeEach(() => mock.reset());

  test('the operator key once a minute, however many ask', async () => {
    let now = 0;
    mock.on(GetSecretValueCommand).resolvesOnce({ SecretString: 'old' }).resolves({ SecretString: 'new' });
    const { accepted } = createOperatorKey({ client, secretArn: arnOf('operator'), now: () => DAY_MS + now });
    expect(await Promise.all([accepted(), accepted()])).toEqual([['old'], ['old']]);
    now = 59_999;
    expect(await accepted()).toEqual(['old']);
    now = 60_000;
    expect(await accepted()).toEqual(['new']);
    expect(mock.calls()).toHaveLength(2);
    expect(mock.calls()[0]?.args[0].input).toEqual({ SecretId: arnOf('operator'), VersionStage: 'AWSCURRENT' });
  });

  test('the operator key before the current one as long as that is younger than a day, to the millisecond', async () => {
    let now = DAY_MS - 1;
    const version = (stage: string) => mock.on(GetSecretValueCommand, { VersionStage: stage });
    version('AWSCURRENT').resolves({ SecretString: 'new', CreatedDate: new Date(0) });
    version('AWSPREVIOUS').resolves({ SecretString: 'old', CreatedDate: new Date(0) });
    const { accepted } = createOperatorKey({ client, secretArn: arnOf('operator'), now: () => now });
    expect(await accepted()).toEqual(['new', 'old']);
    // Not read again: the overlap ends although what was read is a millisecond old.
    now = DAY_MS;
    expect(await accepted()).toEqual(['new']);
    expect(mock.calls()).toHaveLength(2);
  });

  test('no operator key before the first one; but one that cannot be read is no reason to do without', async () => {
    const version = (stage: string) => mock.on(GetSecretValueCommand, { VersionStage: stage });
    version('AWSCURRENT').resolves({ SecretString: 'new', CreatedDate: new Date(0) });
    version('AWSPREVIOUS')
      .rejectsOnce(new ResourceNotFoundException({ message: 'no such label', $metadata: {} }))
      .rejects(new Error('throttled'));
    const read = () => createOperatorKey({ client, secretArn: arnOf('operator'), now: () => 1 }).accepted();
    expect(await read()).toEqual(['new']);
    await expect(read()).rejects.toThrow('throttled');
  });

  test('a model key sooner where it is refused, once for all who ask, and not each time', async () => {
    let now = 0;
    mock.on(GetSecretValueCommand).resolvesOnce({ SecretString: 'old' }).resolves({ SecretString: 'new' });
    const keys = createModelKeys({ client, secretArns: { openai: arnOf('openai') }, now: () => now });
    expect(await keys.get('openai')).toBe('old');
    now = 9_999;
    expect(await keys.get('openai', 'old')).toBe('old');
    now = 10_000;
    expect(await keys.get('openai', 'an older one')).toBe('old');
    expect(mock.calls()).toHaveLength(1);
    expect(await Promise.all([keys.get('openai', 'old'), keys.get('openai', 'old')])).toEqual(['new', 'new']);
    now = 15_000;
    expect(await keys.get('openai', 'new')).toBe('new');
    expect(mock.calls()).toHaveLength(2);
  });

  test('again after a failure, which nobody is told twice', async () => {
    mock.on(GetSecretValueCommand).rejectsOnce(new Error('down')).resolves({ SecretString: 'key' });
    const keys = createModelKeys({ client, secretArns: { openai: arnOf('openai') } });
    await expect(keys.get('openai')).rejects.toThrow('down');
    expect(await keys.get('openai')).toBe('key');
  });
});
