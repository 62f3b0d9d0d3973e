import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { App } from 'aws-cdk-lib';
import * as z from 'zod';
import { BatchStack } from './batchStack.ts';
import { ConfigError, MODELS_PATH, readStage } from './config.ts';
import { checkByNag } from './nag.ts';

/**
 * Synthesizes the stack: `npx cdk synth -c stage=prod`. Context `stage` names the stage of `config.json`, `models` the
 * models file, `settings` overrides the stage's settings (what the local run and tests use).
 */
const require = createRequire(import.meta.url);
const Context = z.object({
  stage: z.string().default('prod'),
  models: z.string().default(MODELS_PATH),
  settings: z.record(z.string(), z.unknown()).default({}),
});
const Package = z.object({ version: z.string() });

// `cdk.json`'s context is not read when this file is run by itself, so the recommended flags are given here, for both.
const app = new App({
  postCliContext: require('aws-cdk-lib/recommended-feature-flags.json') as Record<string, unknown>,
});
checkByNag(app);
const context = Context.parse({
  stage: app.node.tryGetContext('stage'),
  models: app.node.tryGetContext('models'),
  settings: app.node.tryGetContext('settings'),
});
const { version } = Package.parse(JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')));

try {
  new BatchStack(app, `batch-api-${context.stage}`, {
    stage: readStage(context.stage, context.settings),
    modelsPath: context.models,
    version,
    description: `Batch API for LLM work, stage ${context.stage}`,
  });
  app.synth();
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
