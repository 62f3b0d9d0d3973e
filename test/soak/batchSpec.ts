import type { Random } from '../support/random.ts';
import { type AskedLine, drawLines, type FateWeights } from './lines.ts';
import { SERVINGS, type Serving } from './source.ts';

/** When its client cancels a batch. */
export const CANCEL_MOMENTS = ['at_once', 'validating', 'in_progress', 'later', 'finalizing', 'ended'] as const;
export type CancelMoment = (typeof CANCEL_MOMENTS)[number];

/** How a receiver takes notifications: the first posts, and those after them. */
export const MOODS = [
  'well',
  'fails_first',
  'fails_often',
  'hangs_first',
  'cuts_first',
  'redirects_first',
  'gone',
] as const;
export type Mood = (typeof MOODS)[number];

/** What a client does with one batch. */
export type BatchSpec = {
  name: string;
  kind: Kind;
  type: 'COMPLETIONS' | 'EMBEDDINGS';
  lines: AskedLine[];
  content: Buffer;
  onInvalidLine: 'fail' | 'skip';
  completionWindow: string;
  retryWindow: string;
  /** An upload, packed or not, or a file on a web host. */
  input: 'upload' | 'packed_upload' | Serving;
  /** Into how many pieces a dripping file falls. */
  drips: number;
  mood: Mood;
  cancel: CancelMoment | undefined;
  /** Two cancels at the same time. */
  cancelsTwice: boolean;
  takesSnapshots: boolean;
  /** Retries in a row, each of what failed before. */
  retries: { merge: boolean }[];
};

const KINDS = {
  small: 10,
  medium: 6,
  large: 1,
  expiring: 3,
  stuck: 3,
  bad_fails: 1,
  bad_skipped: 3,
  all_bad: 1,
  all_failing: 1,
  empty: 0.5,
} as const;
type Kind = keyof typeof KINDS;

const MOSTLY_GOOD: FateWeights = { answered: 60, throttled: 2, failing_once: 3, cut_once: 2, healing: 3, refused: 2 };
const TROUBLED: FateWeights = { ...MOSTLY_GOOD, slow: 5, hanging_once: 1, broken: 1, garbage: 1 };

type Shape = { count: [least: number, most: number]; fates: FateWeights; bad: number };

const SHAPES: Record<Kind, Shape> = {
  small: { count: [1, 40], fates: TROUBLED, bad: 0 },
  medium: { count: [100, 500], fates: MOSTLY_GOOD, bad: 0 },
  large: { count: [1_500, 4_000], fates: { answered: 200, ...MOSTLY_GOOD }, bad: 0 },
  // Lines that are never answered outlast a window of a minute.
  expiring: { count: [20, 200], fates: { answered: 20, slow: 10, throttled: 3, hanging: 4, broken: 1 }, bad: 0 },
  // Runs until somebody cancels it, or the last hanging line is given up.
  stuck: { count: [20, 300], fates: { answered: 30, slow: 10, healing: 3, hanging: 2 }, bad: 0 },
  bad_fails: { count: [2, 300], fates: MOSTLY_GOOD, bad: 0.1 },
  bad_skipped: { count: [2, 300], fates: TROUBLED, bad: 0.15 },
  all_bad: { count: [1, 150], fates: MOSTLY_GOOD, bad: 1 },
  all_failing: { count: [1, 60], fates: { refused: 3, healing: 2 }, bad: 0 },
  empty: { count: [0, 0], fates: MOSTLY_GOOD, bad: 0 },
};

/** `brief`: nothing that takes minutes by itself, for a run of a minute or two. */
export function drawBatch(random: Random, number: number, { brief }: { brief: boolean }): BatchSpec {
  const kind = random.weighted(brief ? { ...KINDS, large: 0.3 } : KINDS);
  const { count, fates, bad } = SHAPES[kind];
  const type = random.chance(0.6) ? 'COMPLETIONS' : 'EMBEDDINGS';
  const name = `b${number}`;
  const plan = { name, type, count: random.int(...count), fates, bad, blank: random.chance(0.3) ? 0.1 : 0 } as const;
  const { lines, content } = drawLines(random, plan);
  const cancel = drawCancel(random, kind);
  const window = random.pick(['1h', '24h', '7d']);
  const outlastsRun = brief && lines.some(isNeverAnswered);
  const input = random.weighted({ upload: 5, packed_upload: 1, web: 4 });
  return {
    name,
    kind,
    type,
    lines,
    content: Buffer.from(content),
    onInvalidLine: kind === 'bad_fails' || (bad === 0 && random.chance(0.5)) ? 'fail' : 'skip',
    // A line that is never answered, with nobody beside it, is waited for as if its model were down, for a quarter of an
    // hour: in a brief run its window ends first.
    completionWindow: kind === 'expiring' || outlastsRun ? '1m' : window,
    retryWindow: outlastsRun ? '1m' : '1h',
    // A cancel while validating needs an input that takes its time.
    input: cancel === 'validating' ? 'dripping' : input === 'web' ? random.pick(SERVINGS) : input,
    // Up to some 20 s: longer than one invocation that is made short.
    drips: random.int(3, 50),
    mood: random.weighted({
      well: 12,
      fails_first: 3,
      fails_often: 1,
      hangs_first: 1,
      cuts_first: 1,
      redirects_first: 1,
      gone: 1,
    }),
    cancel,
    cancelsTwice: random.chance(0.3),
    takesSnapshots: random.chance(kind === 'small' ? 0.1 : 0.4),
    retries: random.chance(0.5) ? drawRetries(random) : [],
  };
}

function isNeverAnswered(line: AskedLine): boolean {
  return 'fate' in line && (line.fate === 'broken' || line.fate === 'hanging');
}

function drawCancel(random: Random, kind: Kind): CancelMoment | undefined {
  if (kind === 'stuck') return random.weighted({ in_progress: 1, later: 3 });
  if (random.chance(0.75)) return undefined;
  return random.weighted({ at_once: 1, validating: 1, in_progress: 2, later: 1, finalizing: 3, ended: 1 });
}

function drawRetries(random: Random): { merge: boolean }[] {
  return Array.from({ length: random.weighted({ one: 3, two: 1 }) === 'one' ? 1 : 2 }, () => ({
    merge: random.chance(0.5),
  }));
}
