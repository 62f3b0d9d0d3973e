import { Command, InvalidArgumentError } from '@commander-js/extra-typings';
import type { Stage } from '../infra/config.ts';
import type { Job } from './forecast/batchPlan.ts';

/** Four characters a token and a sentence of JSON around the answer: what English text and the output's lines have. */
const BYTES_PER_TOKEN = 4;
const ANSWER_FRAME_BYTES = 200;

export const tokensOfBytes = (bytes: number) => Math.ceil(bytes / BYTES_PER_TOKEN);

/** A command about a job that its user describes; `npm run cost` and `npm run simulate`. */
export function jobCommand(name: string, summary: string, examples: readonly string[]) {
  return new Command(`npm run ${name} --`)
    .description(summary)
    .allowExcessArguments(false)
    .showHelpAfterError('Add --help to see how it is called.')
    .option('--lines <count>', 'lines of the input', amount, 1_000_000)
    .option('--bytes <count>', 'bytes of a line', amount, 1_000)
    .option('--latency <time>', 'of a model call, such as 800ms or 1.5s', milliseconds, 1_000)
    .option('--tokens <count>', 'tokens of an answer', amount, 500)
    .option('--requests-per-minute <count>', 'what the model takes, if it is limited', amount)
    .option('--stage <name>', 'stage of config.json whose settings count', 'prod')
    .option('--json', 'one JSON document')
    .addHelpText('after', `\nExamples:\n${examples.map((text) => `  ${text}`).join('\n')}`);
}

export type JobOptions = {
  lines: number;
  bytes: number;
  latency: number;
  tokens: number;
  requestsPerMinute?: number | undefined;
};

export function jobOf({ lines, bytes, latency, tokens, requestsPerMinute }: JobOptions, stage: Stage): Job {
  const answerBytes = tokens * BYTES_PER_TOKEN + ANSWER_FRAME_BYTES;
  return {
    ...{ lines, lineBytes: bytes, answerBytes, latencyMs: latency, requestsPerMinute },
    workersAtMost: stage.reservedWorkers,
  };
}

/** Also `1e6` and `1_000_000`. */
export function amount(text: string): number {
  const value = Number(text.replaceAll('_', ''));
  if (Number.isInteger(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a whole number above 0.');
}

function milliseconds(text: string): number {
  const [, count, unit] = /^(\d+(?:\.\d+)?)(ms|s|m)$/.exec(text) ?? [];
  const ms = Number(count) * ({ ms: 1, s: 1_000, m: 60_000 }[unit ?? ''] ?? Number.NaN);
  if (ms > 0) return ms;
  throw new InvalidArgumentError('It must be such as 800ms, 1.5s or 2m.');
}
