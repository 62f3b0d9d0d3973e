import { CHECK_REASONS } from '../../shared/contract/checkView.ts';
import { type FunctionSpec, functions, type Rights } from '../../shared/contract/functions.ts';
import { type Route, routes } from '../../shared/contract/routes.ts';
import { type StepName, steps } from '../../shared/contract/steps.ts';
import { BATCH_STATUSES, TRANSITIONS } from '../../shared/domain/batchStatus.ts';
import { code, codes, table } from './table.ts';

/** `TRANSITIONS` as a Mermaid state diagram. */
export function drawStatuses(): string {
  const arrows = BATCH_STATUSES.flatMap((from) =>
    TRANSITIONS[from].length === 0 ? [`${from} --> [*]`] : TRANSITIONS[from].map((to) => `${from} --> ${to}`),
  );
  return ['```mermaid', 'stateDiagram-v2', '  [*] --> validating', ...arrows.map((line) => `  ${line}`), '```'].join(
    '\n',
  );
}

export function drawRoutes(): string {
  const who = ({ caller, access }: Route) =>
    caller === 'project' ? (access === 'manage' ? 'project: owner, admin' : 'project: every role') : caller;
  return table(
    ['route', 'for', 'function'],
    Object.entries(routes).map(([name, route]) => [
      code(`${route.method} ${route.path}`),
      who(route),
      code(`functions/http/${name}.ts`),
    ]),
  );
}

export function drawFunctions(): string {
  return table(
    ['function', 'time, memory', 'table', 'bucket', 'machines', 'secrets'],
    (Object.entries(functions) as [string, FunctionSpec][]).map(([name, { timeoutSeconds, memoryMb, rights }]) => [
      code(name),
      `${timeoutSeconds} s, ${memoryMb} MB`,
      [
        ...Object.entries(rights.table ?? {}).map(([kind, words]) => `${kind}: ${words.join(' ')}`),
        ...(rights.indexes ?? []).map((index) => `query ${index}`),
        ...(rights.scan ?? []).map((index) => `scan ${index}`),
      ].join(', '),
      [filesOf(rights), ...(rights.inputBuckets ? ['read the stage’s `inputBuckets`'] : [])].filter(Boolean).join('; '),
      [
        ...(rights.batchMachine ? [`batch: ${rights.batchMachine.join(', ')}`] : []),
        ...(rights.notificationMachine ? [`notification: ${rights.notificationMachine.join(', ')}`] : []),
        ...(rights.snapshotMachine ? [`snapshot: ${rights.snapshotMachine.join(', ')}`] : []),
      ].join('; '),
      (rights.secrets ?? []).join(', '),
    ]),
  );
}

const filesOf = ({ files = {} }: Rights) =>
  (['read', 'write', 'delete'] as const)
    .flatMap((word) => (files[word] ? [`${word} ${files[word].join(', ')}`] : []))
    .join('; ');

/** What each step is given and answers, as their schemas have it. */
export function drawSteps(): string {
  const run = ['version', 'projectId', 'batchId'];
  const own = (shape: object) => Object.keys(shape).filter((field) => !run.includes(field) && field !== 'next');
  return table(
    ['step', 'is given', 'answers', 'and `next`'],
    (Object.keys(steps) as StepName[]).map((name) => {
      const { input, output } = steps[name];
      return [
        code(name),
        codes(own(input.shape)),
        codes(own(output.shape)),
        output.shape.next.options.map((word) => code(word)).join(' '),
      ];
    }),
  );
}

export function drawCheckReasons(): string {
  return table(
    ['`reason`', 'what the check found and did'],
    Object.entries(CHECK_REASONS).map(([reason, sentence]) => [code(reason), sentence]),
  );
}
