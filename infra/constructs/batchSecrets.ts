import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';
import type { ModelsFile } from '../../shared/domain/models.ts';
import { accept } from '../nag.ts';

/** The operator's key, generated at deploy, and a secret for each provider in `models.json` that wants a key. */
export class BatchSecrets extends Construct {
  readonly operatorKey: secretsmanager.Secret;
  /** By provider name. */
  readonly modelKeys: Record<string, secretsmanager.Secret> = {};

  constructor(scope: Construct, id: string, props: { models: ModelsFile }) {
    super(scope, id);
    this.operatorKey = new secretsmanager.Secret(this, 'OperatorKey', {
      description: 'Users-Management-Key of the batch API',
      generateSecretString: { passwordLength: 64, excludePunctuation: true },
    });
    accept(
      this,
      'SMG4',
      'Rotated by hand: a new key of a model provider comes from the provider, and one of the operator must reach those who use it.',
    );
    for (const [name, provider] of Object.entries(props.models.providers)) {
      if (provider.kind !== 'openai' || !provider.api_key) continue;
      // Made with a random value that no provider takes; the operator puts the real key in its place (README).
      this.modelKeys[name] = new secretsmanager.Secret(this, `ModelKey-${name}`, {
        description: `API key of the model provider "${name}" of the batch API`,
      });
    }
  }
}
