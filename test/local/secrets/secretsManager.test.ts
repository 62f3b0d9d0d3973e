import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CreateSecretCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  type SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { AwsJsonServer } from '../../../local/awsJson.ts';
import { type LocalSecret, startSecretsManager } from '../../../local/secrets/server.ts';
import { createSecretsClient } from '../../../shared/adapters/secrets/client.ts';
import { LOCAL_S3 } from '../../support/localS3.ts';

const ARN = 'arn:aws:secretsmanager:us-east-1:000000000000:secret:operator-key-abcdef';
const OPERATOR = { arn: ARN, name: 'operator-key' };

let dataDir: string;
let server: AwsJsonServer | undefined;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'local-secrets-'));
});
afterEach(async () => {
  await stop();
  await rm(dataDir, { recursive: true, force: true });
});
async function stop() {
  await server?.close();
  server = undefined;
}

async function start(...secrets: LocalSecret[]): Promise<SecretsManagerClient> {
  server = await startSecretsManager({ dataDir, secrets });
  const { region, credentials } = LOCAL_S3;
  return createSecretsClient({ endpoint: server.url, region, credentials, maxAttempts: 1 });
}
async function generated(generate: LocalSecret['generate']): Promise<string> {
  const client = await start({ ...OPERATOR, generate: generate ?? {} });
  const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId: ARN }));
  return SecretString ?? '';
}

test('a secret is read by its ARN and by its name', async () => {
  const client = await start({ ...OPERATOR, value: 'given' });
  const byArn = await client.send(new GetSecretValueCommand({ SecretId: ARN }));
  expect(byArn).toMatchObject({
    ARN,
    Name: 'operator-key',
    SecretString: 'given',
    VersionStages: ['AWSCURRENT'],
  });
  expect(byArn.CreatedDate).toBeInstanceOf(Date);
  const byName = await client.send(new GetSecretValueCommand({ SecretId: 'operator-key' }));
  expect(byName.SecretString).toBe('given');
});

test('a generated secret is made once, and is the same after a restart', async () => {
  const first = await generated({});
  expect(first).toHaveLength(32);
  await stop();
  expect(await generated({})).toBe(first);
});

test('what is generated is on disk for its owner alone, what is given is not there at all', async () => {
  await start({ ...OPERATOR, generate: {} }, { arn: `${ARN}2`, name: 'model-key', value: 'from-outside' });
  const file = join(dataDir, 'secrets.json');
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await readFile(file, 'utf8')).not.toContain('from-outside');
});

test('a file of secrets that cannot be read stops the start, and stays as it is', async () => {
  await writeFile(join(dataDir, 'secrets.json'), '{ "operator-key": ');
  await expect(start({ ...OPERATOR, generate: {} })).rejects.toThrow('secrets.json is not a file of secrets');
  expect(await readFile(join(dataDir, 'secrets.json'), 'utf8')).toBe('{ "operator-key": ');
});

test('a secret that is put is the current one, and the one before stays readable, also after a restart', async () => {
  const first = await start({ ...OPERATOR, generate: {} });
  const versions = async (client: SecretsManagerClient) =>
    await Promise.all(
      ['AWSCURRENT', 'AWSPREVIOUS'].map(async (VersionStage) => {
        const { SecretString, VersionStages } = await client.send(
          new GetSecretValueCommand({ SecretId: ARN, VersionStage }),
        );
        expect(VersionStages).toEqual([VersionStage]);
        return SecretString;
      }),
    );
  const { SecretString: generated } = await first.send(new GetSecretValueCommand({ SecretId: ARN }));
  const put = new PutSecretValueCommand({ SecretId: ARN, SecretString: 'second', ClientRequestToken: 't'.repeat(32) });
  expect(await first.send(put)).toMatchObject({ VersionStages: ['AWSCURRENT'], VersionId: 't'.repeat(32) });
  expect(await versions(first)).toEqual(['second', generated]);
  // The same request once more, its answer lost.
  await first.send(put);
  expect(await versions(first)).toEqual(['second', generated]);
  await first.send(new PutSecretValueCommand({ SecretId: 'operator-key', SecretString: 'third' }));
  await stop();
  expect(await versions(await start({ ...OPERATOR, generate: {} }))).toEqual(['third', 'second']);
});

test('what cannot be put is refused: nothing, an unknown secret, one that the environment gives', async () => {
  const client = await start({ ...OPERATOR, generate: {} }, { arn: `${ARN}2`, name: 'given', value: 'x' });
  const put = (SecretId: string, SecretString?: string) =>
    client.send(new PutSecretValueCommand({ SecretId, SecretString }));
  await expect(put(ARN)).rejects.toMatchObject({ name: 'InvalidParameterException' });
  await expect(put('nobody', 'x')).rejects.toMatchObject({ name: 'ResourceNotFoundException' });
  await expect(put('given', 'y')).rejects.toMatchObject({ name: 'InvalidRequestException' });
  const stages = new PutSecretValueCommand({ SecretId: ARN, SecretString: 'x', VersionStages: ['mine'] });
  await expect(client.send(stages)).rejects.toThrow('VersionStages');
});

test.each<[string, NonNullable<LocalSecret['generate']>, RegExp]>([
  ['length', { PasswordLength: 48, ExcludePunctuation: true }, /^[A-Za-z0-9]{48}$/],
  ['excluded types', { ExcludeUppercase: true, ExcludeNumbers: true, ExcludePunctuation: true }, /^[a-z]{32}$/],
  [
    'excluded characters',
    { ExcludeLowercase: true, ExcludePunctuation: true, ExcludeCharacters: 'O0' },
    /^[A-NP-Z1-9]{32}$/,
  ],
  ['one of each type', { PasswordLength: 4 }, /^(?=.*[a-z])(?=.*[A-Z])(?=.*\d)(?=.*[^A-Za-z0-9]).{4}$/],
  [
    'a space among them',
    { PasswordLength: 2, IncludeSpace: true, ExcludeUppercase: true, ExcludeNumbers: true, ExcludePunctuation: true },
    /^( [a-z]|[a-z] )$/,
  ],
])('GenerateSecretString keeps to its options: %s', async (_, generate, pattern) => {
  expect(await generated(generate)).toMatch(pattern);
});

test('a template takes the generated text under its key', async () => {
  const text = await generated({
    SecretStringTemplate: '{"user":"operator"}',
    GenerateStringKey: 'key',
    ExcludePunctuation: true,
  });
  expect(JSON.parse(text)).toEqual({ user: 'operator', key: expect.stringMatching(/^[A-Za-z0-9]{32}$/) });
});

test.each<[string, Record<string, unknown>, string]>([
  ['an unknown option', { Surprise: true }, 'Surprise'],
  ['a template without key', { SecretStringTemplate: '{}' }, 'want each other'],
  ['a template that is no object', { SecretStringTemplate: '[', GenerateStringKey: 'k' }, 'SecretStringTemplate'],
  ['no characters left', { ExcludeCharacters: 'ab', PasswordLength: 3 }, 'PasswordLength'],
])('%s stops the start, and is named', async (_, generate, named) => {
  await expect(generated(generate as NonNullable<LocalSecret['generate']>)).rejects.toThrow(named);
});

test('an unknown secret, one without a value and another stage answer ResourceNotFoundException', async () => {
  const client = await start(OPERATOR, { arn: `${ARN}2`, name: 'given', value: 'x' });
  const read = (SecretId: string, VersionStage?: string) =>
    client.send(new GetSecretValueCommand({ SecretId, VersionStage }));
  await expect(read('nobody')).rejects.toMatchObject({ name: 'ResourceNotFoundException' });
  await expect(read(ARN)).rejects.toMatchObject({ name: 'ResourceNotFoundException' });
  await expect(read('given', 'AWSPREVIOUS')).rejects.toMatchObject({ name: 'ResourceNotFoundException' });
});

test('an operation that is not there is named', async () => {
  const client = await start();
  await expect(client.send(new CreateSecretCommand({ Name: 'x' }))).rejects.toThrow('secretsmanager.CreateSecret');
});

test('a request that a web page could send without asking is refused', async () => {
  await start({ ...OPERATOR, value: 'given' });
  const answer = await fetch(server?.url ?? '', {
    method: 'POST',
    headers: { 'content-type': 'text/plain', 'x-amz-target': 'secretsmanager.GetSecretValue' },
    body: JSON.stringify({ SecretId: ARN }),
  });
  expect(answer.status).toBe(404);
  expect(await answer.text()).not.toContain('given');
});
