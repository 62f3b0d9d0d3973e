import { join } from 'node:path';
import { ROOT, synthesize } from '../../local/synth.ts';
import { readAssembly } from '../../local/template/assembly.ts';
import { planFromAssembly } from '../../local/template/readTemplate.ts';
import { type FunctionName, functions } from '../../shared/contract/functions.ts';
import type { StepName } from '../../shared/contract/steps.ts';
import { TEST_SETTINGS } from '../support/localRun.ts';

export type State = Record<string, unknown> & {
  Type: string;
  Next?: string;
  Retry?: { ErrorEquals: string[]; MaxAttempts: number }[];
  Catch?: { ErrorEquals: string[]; Next: string }[];
  Choices?: { Next: string }[];
  Default?: string;
  ItemProcessor?: Definition;
};
export type Definition = { StartAt: string; States: Record<string, State>; TimeoutSeconds?: number };

export const MACHINES = ['batch', 'notification', 'snapshot'] as const;
export type MachineName = (typeof MACHINES)[number];

export type Machines = {
  definitions: Record<MachineName, Definition>;
  /** The bucket that the batch machine's map reads from. */
  bucket: string;
  stepOf(functionArn: string): StepName;
};

/**
 * The machines of the template that would be deployed, their ARNs resolved as the local run resolves them. It is the synth
 * that all tests of the whole local run use: the machines depend on no setting.
 */
export async function readMachines(): Promise<Machines> {
  const outdir = await synthesize({ modelsFile: join(ROOT, 'models.json'), settings: TEST_SETTINGS });
  const plan = planFromAssembly(readAssembly(outdir));
  const [bucket, ...others] = plan.buckets;
  if (!bucket || others.length > 0) throw new Error('The template has one bucket');
  if (plan.machines.length !== MACHINES.length) throw new Error('A machine of the template is not known to this suite');
  const definitionOf = (name: MachineName): Definition => {
    const found = plan.machines.filter((machine) => machine.name.toLowerCase().includes(`-${name}machine`));
    if (found.length !== 1 || !found[0]) throw new Error(`The template has ${found.length} machines named ${name}`);
    // The local run has read the template's text as ASL.
    return found[0].definition as Definition;
  };
  const steps = (Object.keys(functions) as FunctionName[]).flatMap((name) => {
    const [kind, step = ''] = name.split('/');
    return kind === 'workflow' ? [step as StepName] : [];
  });
  return {
    definitions: {
      batch: definitionOf('batch'),
      notification: definitionOf('notification'),
      snapshot: definitionOf('snapshot'),
    },
    bucket: bucket.name,
    stepOf(functionArn) {
      const { logicalId = '' } = plan.functions.find(({ arn }) => arn === functionArn) ?? {};
      const step = steps.find((name) => logicalId.toLowerCase().startsWith(`functionsworkflow${name.toLowerCase()}`));
      if (step === undefined) throw new Error(`No step runs ${functionArn}`);
      return step;
    },
  };
}

/** States of a machine and of the maps in it; those of a map's children as `<map>/<state>`. */
export function allStates({ States }: Definition, prefix = ''): [string, State][] {
  return Object.entries(States).flatMap(([name, state]): [string, State][] => [
    [`${prefix}${name}`, state],
    ...(state.ItemProcessor ? allStates(state.ItemProcessor, `${prefix}${name}/`) : []),
  ]);
}

/**
 * The one change that the tests make to a definition: tries follow each other after a millisecond instead of seconds
 * that double. How often a state is tried, for what, and what comes then stay as they are.
 */
export function withoutPauses(definition: Definition): Definition {
  return {
    ...definition,
    States: Object.fromEntries(
      Object.entries(definition.States).map(([name, state]) => [
        name,
        {
          ...state,
          ...(state.Retry ? { Retry: state.Retry.map((rule) => ({ ...rule, ...AT_ONCE })) } : {}),
          ...(state.ItemProcessor ? { ItemProcessor: withoutPauses(state.ItemProcessor) } : {}),
        },
      ]),
    ),
  };
}

const AT_ONCE = { IntervalSeconds: 0.001, BackoffRate: 1, MaxDelaySeconds: 1 };
