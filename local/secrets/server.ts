import { randomUUID } from 'node:crypto';
import { AwsJsonError, type AwsJsonServer, startAwsJson } from '../awsJson.ts';
import { type GenerateSecret, generateSecret } from './generateSecret.ts';
import { type KeptSecret, openSecretFile } from './secretFile.ts';

export type LocalSecret = {
  arn: string;
  name: string;
  /** `GenerateSecretString` of the template: made at the first start, the same ever after. */
  generate?: GenerateSecret;
  /** Given from outside (the environment); never written to disk, and stronger than `generate`. */
  value?: string;
};

/** Secrets Manager on 127.0.0.1: GetSecretValue of the current version, by name or ARN. */
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

  return startAwsJson({
    service: 'secretsmanager',
    version: '1.1',
    port: options.port ?? 0,
    operations: {
      GetSecretValue({ SecretId, VersionStage, ...rest }) {
        const [unknown] = Object.keys(rest);
        if (unknown) throw invalid(`The local run does not know the parameter ${unknown}.`);
        if (typeof SecretId !== 'string') throw invalid('SecretId is missing.');
        const secret = options.secrets.find(({ arn, name }) => arn === SecretId || name === SecretId);
        if (!secret) throw notFound("Secrets Manager can't find the specified secret.");
        const stage = VersionStage ?? 'AWSCURRENT';
        const version = stage === 'AWSCURRENT' ? current.get(secret) : undefined;
        if (!version) {
          throw notFound(`Secrets Manager can't find the specified secret value for staging label: ${String(stage)}`);
        }
        return {
          ARN: secret.arn,
          Name: secret.name,
          VersionId: version.versionId,
          SecretString: version.value,
          VersionStages: ['AWSCURRENT'],
          CreatedDate: version.createdAt / 1_000,
        };
      },
    },
  });
}

const invalid = (message: string) => new AwsJsonError('InvalidParameterException', message);
const notFound = (message: string) => new AwsJsonError('ResourceNotFoundException', message);

function currentVersion(secret: LocalSecret, file: ReturnType<typeof openSecretFile>): KeptSecret | undefined {
  const fresh = (value: string) => ({ versionId: randomUUID(), value, createdAt: Date.now() });
  if (secret.value !== undefined) return fresh(secret.value);
  if (!secret.generate) return undefined;
  const kept = file.get(secret.name);
  if (kept) return kept;
  const made = fresh(generateSecret(secret.generate, `The secret ${secret.name}`));
  file.put(secret.name, made);
  return made;
}
