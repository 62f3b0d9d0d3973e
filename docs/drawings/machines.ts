import type { Definition, Retrier, Rule, State, Synthesized } from './assembly.ts';
import { codes, table } from './table.ts';

type Edge = { from: string; to: string; label?: string; dotted?: boolean };

/** A machine as a Mermaid flowchart: its Choice states are the words on the arrows, its catches the dotted ones. */
export function drawMachine(definition: Definition, { stepOf }: Pick<Synthesized, 'stepOf'>): string {
  return ['```mermaid', 'flowchart TD', ...draw(definition, stepOf, '  '), '```'].join('\n');
}

function draw({ StartAt, States }: Definition, stepOf: Synthesized['stepOf'], indent: string): string[] {
  const shown = Object.entries(States).filter(([, { Type }]) => Type !== 'Choice');
  // A subgraph's own arrow in stands for where its children start.
  const start = indent.length > 2 ? [] : [`${indent}start(( )) --> ${StartAt}`];
  return [
    ...start,
    ...shown.flatMap(([name, state]) =>
      state.ItemProcessor
        ? [
            `${indent}subgraph ${name}["${name}: a child for each shard"]`,
            ...draw(state.ItemProcessor, stepOf, `${indent}  `),
            `${indent}end`,
          ]
        : [`${indent}${name}${shapeOf(name, state, stepOf)}`],
    ),
    ...shown.flatMap(([name, state]) => edgesOf(name, state, States)).map((edge) => `${indent}${arrow(edge)}`),
  ];
}

function shapeOf(name: string, state: State, stepOf: Synthesized['stepOf']): string {
  switch (state.Type) {
    case 'Task':
      return `["${name}<br/>${stepOf(state) ?? ''}"]`;
    case 'Wait':
      return `(["${name}: as long as the step said"])`;
    case 'Succeed':
      return `(["${name}"])`;
    case 'Fail':
      return `{{"${name}"}}`;
    default:
      throw new Error(`No shape stands for a ${state.Type} state (${name})`);
  }
}

function edgesOf(from: string, { Next, Catch = [] }: State, states: Record<string, State>): Edge[] {
  const choice = Next === undefined ? undefined : states[Next];
  const onward: Edge[] =
    choice?.Type === 'Choice'
      ? [
          ...(choice.Choices ?? []).map((rule) => ({ from, to: rule.Next, label: wordOf(rule) })),
          ...(choice.Default === undefined ? [] : [{ from, to: choice.Default, label: 'else' }]),
        ]
      : Next === undefined
        ? []
        : [{ from, to: Next }];
  return [...onward, ...Catch.map(({ Next: to }) => ({ from, to, label: 'fails for good', dotted: true }))];
}

function wordOf({ StringEquals, NumericLessThan, And }: Rule): string {
  if (And) return And.map(wordOf).join(', ');
  if (StringEquals !== undefined) return StringEquals;
  if (NumericLessThan !== undefined) return `turn under ${NumericLessThan}`;
  throw new Error('No word stands for this comparison');
}

/** The retries of every task, which are the same. */
export function drawRetries(machines: Definition[]): string {
  const rules = new Set(machines.flatMap(retriesOf).map((retry) => JSON.stringify(retry)));
  const [only, ...others] = [...rules].map((text) => JSON.parse(text) as Retrier[]);
  if (!only || others.length > 0) throw new Error('The tasks are retried by different rules');
  return table(
    ['errors', 'tries more', 'pause before the first, at most', 'then each time', 'longest'],
    only.map(({ ErrorEquals, MaxAttempts, IntervalSeconds, BackoffRate, MaxDelaySeconds }) => [
      codes(ErrorEquals),
      `${MaxAttempts}`,
      ...(MaxAttempts === 0 ? ['', '', ''] : [`${IntervalSeconds} s`, `× ${BackoffRate}`, `${MaxDelaySeconds} s`]),
    ]),
  );
}

function retriesOf({ States }: Definition): Retrier[][] {
  return Object.values(States).flatMap(({ Type, Retry = [], ItemProcessor }) => [
    ...(Type === 'Task' ? [Retry] : []),
    ...(ItemProcessor ? retriesOf(ItemProcessor) : []),
  ]);
}

const arrow = ({ from, to, label, dotted }: Edge) =>
  `${from} ${dotted ? '-.->' : '-->'}${label === undefined ? '' : `|${label}|`} ${to}`;
