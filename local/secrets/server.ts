import { randomUUID } from 'node:crypto';
import { AwsJsonError, type AwsJsonServer, startAwsJson } from '../awsJson.ts';
import { type GenerateSecret, generateSecret } from './generateSecret.ts';
import { type KeptSecret, openSecretFile, type SecretVersion } from './secretFile.ts';

export type LocalSecret = {
  arn: string;
  name: string;
  /** `GenerateSecretString` of the template: made at the first start, the same ever after. */
  generate?: GenerateSecret;
  /** Given from outside (the environment); never written to disk, and stronger than `generate`. */
  value?: string;
};

/**
 * Secrets Manager on 127.0.0.1, by name or ARN: GetSecretValue of the current version and the one before, and
 * PutSecretValue, which makes the current version the previous one.
 */
export async function startSecretsManager(options: {
  dataDir: string;
  secrets: LocalSecret[];
  port?: number;
}): Promise<AwsJsonServer> {
  const file = openSecretFile(options.dataDir);
  const current = new Map<LocalSecret, KeptSecret>();
  for (const secret of options.secrets) {
    const kept = currentVersion(secret, file);
    if (kept) current.set(secret, kept);
  }

  function find(SecretId: unknown, unknown: Record<string, unknown>): LocalSecret {
    const [parameter] = Object.keys(unknown);
    if (parameter) throw invalid(`The local run does not know the parameter ${parameter}.`);
    if (typeof SecretId !== 'string') throw invalid('SecretId is missing.');
    const secret = options.secrets.find(({ arn, name }) => arn === SecretId || name === SecretId);
    if (!secret) throw notFound("Secrets Manager can't find the specified secret.");
    return secret;
  }

  return startAwsJson({
    service: 'secretsmanager',
    version: '1.1',
    port: options.port ?? 0,
    operations: {
      GetSecretValue({ SecretId, VersionStage = 'AWSCURRENT', ...rest }) {
        const secret = find(SecretId, rest);
        const kept = current.get(secret);
        const versions: Record<string, SecretVersion | undefined> = { AWSCURRENT: kept, AWSPREVIOUS: kept?.previous };
        const stage = String(VersionStage);
        const version = Object.hasOwn(versions, stage) ? versions[stage] : undefined;
        if (!version) {
          throw notFound(`Secrets Manager can't find the specified secret value for staging label: ${stage}`);
        }
        return {
          ARN: secret.arn,
          Name: secret.name,
          VersionId: version.versionId,
          SecretString: version.value,
          VersionStages: [stage],
          CreatedDate: version.createdAt / 1_000,
        };
      },
      PutSecretValue({ SecretId, SecretString, ClientRequestToken = randomUUID(), ...rest }) {
        const secret = find(SecretId, rest);
        if (typeof SecretString !== 'string' || SecretString === '') throw invalid('SecretString is missing.');
        if (secret.value !== undefined) {
          throw new AwsJsonError('InvalidRequestException', 'This secret comes from the environment: change it there.');
        }
        const before = current.get(secret);
        const versionId = String(ClientRequestToken);
        // A repeat of a request whose answer was lost.
        if (before?.versionId !== versionId) {
          const made = { versionId, value: SecretString, createdAt: Date.now(), ...(before && previousOf(before)) };
          current.set(secret, made);
          file.put(secret.name, made);
        }
        return { ARN: secret.arn, Name: secret.name, VersionId: versionId, VersionStages: ['AWSCURRENT'] };
      },
    },
  });
}

const invalid = (message: string) => new AwsJsonError('InvalidParameterException', message);
const notFound = (message: string) => new AwsJsonError('ResourceNotFoundException', message);

/** Versions older than that have no label, and nobody can read them. */
const previousOf = ({ versionId, value, createdAt }: KeptSecret) => ({ previous: { versionId, value, createdAt } });

function currentVersion(secret: LocalSecret, file: ReturnType<typeof openSecretFile>): KeptSecret | undefined {
  const fresh = (value: string) => ({ versionId: randomUUID(), value, createdAt: Date.now() });
  if (secret.value !== undefined) return fresh(secret.value);
  const kept = file.get(secret.name);
  if (kept) return kept;
  if (!secret.generate) return undefined;
  const made = fresh(generateSecret(secret.generate, `The secret ${secret.name}`));
  file.put(secret.name, made);
  return made;
}
