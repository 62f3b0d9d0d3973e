import { join } from 'node:path';
import { ROOT, synthesize } from '../../local/synth.ts';
import { readAssembly, type Template } from '../../local/template/assembly.ts';
import { planFromAssembly } from '../../local/template/readTemplate.ts';
import { functions } from '../../shared/contract/functions.ts';
import type { StepName } from '../../shared/contract/steps.ts';

export type State = {
  Type: string;
  Next?: string;
  Default?: string;
  Choices?: (Rule & { Next: string })[];
  Catch?: { Next: string }[];
  Retry?: Retrier[];
  SecondsPath?: string;
  Parameters?: { FunctionName: string };
  ItemProcessor?: Definition;
};
export type Retrier = {
  ErrorEquals: string[];
  MaxAttempts: number;
  IntervalSeconds?: number;
  BackoffRate?: number;
  MaxDelaySeconds?: number;
};
export type Rule = { StringEquals?: string; NumericLessThan?: number; And?: Rule[] };
export type Definition = { StartAt: string; States: Record<string, State> };

/** What the drawings need of the template that would be deployed. */
export type Synthesized = {
  machine(name: 'batch' | 'notification' | 'snapshot'): Definition;
  /** The step that runs in a task. */
  stepOf(state: State): StepName | undefined;
  /** Days until the bucket deletes what begins with a prefix. */
  expiryDays(prefix: string): number;
};

/** @param settings what other runs of this checkout synthesize with, so that one serves all; no drawing shows them */
export async function readSynthesized(settings: Record<string, unknown> = {}): Promise<Synthesized> {
  const assembly = readAssembly(await synthesize({ modelsFile: join(ROOT, 'models.json'), settings }));
  const plan = planFromAssembly(assembly);
  const steps = Object.keys(functions).flatMap((name) => {
    const [kind, step] = name.split('/');
    return kind === 'workflow' ? [step as StepName] : [];
  });
  const days = expiryOf(assembly.template);
  return {
    machine(name) {
      const found = plan.machines.find((machine) => machine.name.toLowerCase().includes(`-${name}machine`));
      if (!found) throw new Error(`The template has no machine ${name}`);
      // The local run has read the template's text as ASL.
      return found.definition as Definition;
    },
    stepOf({ Parameters }) {
      const { logicalId = '' } = plan.functions.find(({ arn }) => arn === Parameters?.FunctionName) ?? {};
      return steps.find((step) => logicalId.toLowerCase().startsWith(`functionsworkflow${step.toLowerCase()}`));
    },
    expiryDays(prefix) {
      const found = days.get(prefix);
      if (found === undefined) throw new Error(`The bucket has no rule for ${prefix}`);
      return found;
    },
  };
}

function expiryOf({ Resources }: Template): Map<string, number> {
  const buckets = Object.values(Resources).filter(({ Type }) => Type === 'AWS::S3::Bucket');
  const rules = buckets.flatMap(({ Properties }) => {
    const { Rules = [] } = (Properties?.LifecycleConfiguration ?? {}) as { Rules?: Record<string, unknown>[] };
    return Rules;
  });
  return new Map(
    rules.flatMap(({ Prefix, ExpirationInDays }) =>
      typeof Prefix === 'string' && typeof ExpirationInDays === 'number' ? [[Prefix, ExpirationInDays]] : [],
    ),
  );
}
