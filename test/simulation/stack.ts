import { createSHA256 } from 'hash-wasm';
import { synthesize } from '../../local/synth.ts';
import { readAssembly } from '../../local/template/assembly.ts';
import { planFromAssembly } from '../../local/template/readTemplate.ts';
import { type StepName, steps } from '../../shared/contract/steps.ts';
import { startDynalite } from '../support/dynalite.ts';
import { startLocalS3 } from '../support/localS3.ts';
import type { Definition } from './machine.ts';

/** A table, a bucket and the machines as they are deployed: may serve many simulations, one after the other. */
export async function startStack() {
  // The hash of the result files is compiled once a process, which takes real time in the middle of the first Finalize.
  await createSHA256();
  const [table, s3, plan] = await Promise.all([startDynalite(), startLocalS3(), readPlan()]);
  return {
    table,
    s3,
    plan,
    async close() {
      await Promise.all([table.close(), s3.close()]);
    },
  };
}
export type Stack = Awaited<ReturnType<typeof startStack>>;

/** The machines, and which step each function's ARN stands for. */
async function readPlan() {
  const dir = await synthesize({ modelsFile: new URL('../../models.json', import.meta.url).pathname, settings: {} });
  const { machines, functions: made } = planFromAssembly(readAssembly(dir));
  const machineOf = (kind: string) => {
    const found = machines.find(({ name }) => name.includes(kind));
    if (!found) throw new Error(`The template has no ${kind}`);
    return found.definition as Definition;
  };
  const named = Object.keys(steps) as StepName[];
  const stepOf = (logicalId: string) =>
    named.find((step) => logicalId.startsWith(`FunctionsWorkflow${step[0]?.toUpperCase()}${step.slice(1)}`));
  return {
    machines: {
      batch: machineOf('BatchMachine'),
      notification: machineOf('NotificationMachine'),
      snapshot: machineOf('SnapshotMachine'),
    },
    steps: new Map(
      made.flatMap(({ arn, logicalId }) => {
        const step = stepOf(logicalId);
        return step ? [[arn, step] as const] : [];
      }),
    ),
  };
}
