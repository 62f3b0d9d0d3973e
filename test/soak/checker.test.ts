import { describe, expect, test } from 'vitest';
import type { Post } from '../support/notificationReceiver.ts';
import { seededRandom } from '../support/random.ts';
import { drawBatch } from './batchSpec.ts';
import { checkLines } from './checkLines.ts';
import { holdPath, type Known, observe, type View } from './ledger.ts';
import type { AskedLine, Fate } from './lines.ts';
import { type Asked, nothingAsked } from './model.ts';
import { checkPosts } from './notifications.ts';
import { Violation } from './violation.ts';

// A guard that was never seen failing is no guard: each of these is a fault that the soak is there to find.

const ID = 'batch_01';
const at = (second: number) => new Date(Date.UTC(2026, 0, 15, 10, 0, second)).toISOString();

function aView(change: Partial<View> = {}): View {
  return {
    id: ID,
    status: 'completed',
    errors: [],
    request_counts: { total: 4, completed: 3, failed: 1 },
    has_output_file: true,
    has_errors_file: true,
    created_at: at(0),
    expires_at: '2026-01-16T10:00:00.000Z',
    in_progress_at: at(1),
    finalizing_at: at(2),
    completed_at: at(3),
    failed_at: null,
    expired_at: null,
    cancelling_at: null,
    cancelled_at: null,
    delivered_at: null,
    delivery: null,
    retry_of: null,
    ...change,
  };
}

const asked = (line: number, fate: Fate): AskedLine => {
  return { line, text: '', customId: `c${line}`, endpoint: 'agent', fate, prompt: `b1/${line}` };
};
const LINES = [asked(1, 'answered'), asked(3, 'slow'), asked(4, 'refused'), asked(6, 'failing_once')];

function aKnown(change: Partial<Known> = {}): Known {
  return {
    id: ID,
    spec: drawBatch(seededRandom(1), 1, { brief: true }),
    lines: LINES,
    kept: new Map(),
    isRetry: false,
    newest: aView({ status: 'in_progress' }),
    cancelAnswered: false,
    shown: { output: new Set(), errors: new Set() },
    ended: undefined,
    ...change,
  };
}

/** Line `n` was answered with the serial number `n`. */
const model = {
  asked: (prompt: string): Asked => {
    const serials = new Set([Number(prompt.split('/')[1])]);
    return { ...nothingAsked(), calls: 1, serials, refusals: 1 };
  },
  windowShadowMs: 30_000,
  harmDone: () => ({ workersDied: false, partsDeleted: false }),
};

const good = (line: number, serial = line) =>
  `{"id":"${ID}_c${line}","custom_id":"c${line}","response":{"status_code":200,"body":{"success":true,"data":"b1/${line} #${serial}"}}}`;
const failed = (line: number, code = 'model_error', attempts = 1) =>
  `{"id":"${ID}_c${line}","custom_id":"c${line}","line":${line},"response":{"status_code":400,"body":{}},"error":{"code":"${code}","message":""},"attempts":${attempts}}`;

const OUTPUT = [good(1), good(3), good(6)];
const ERRORS = [failed(4)];
const file = (lines: string[]) => (lines.length > 0 ? Buffer.from(`${lines.join('\n')}\n`) : undefined);

function check(output: string[], errors: string[], known = aKnown(), view = aView()) {
  const tally = { lines: 0, output: 0, errors: 0, byCode: new Map() };
  return checkLines(known, view, { output: file(output), errors: file(errors) }, model, tally);
}

describe('files', () => {
  test('that are as they should be', () => {
    expect([...check(OUTPUT, ERRORS)].map(([line, { file }]) => [line, file])).toEqual([
      [1, 'output'],
      [3, 'output'],
      [6, 'output'],
      [4, 'errors'],
    ]);
  });

  test.each<[string, string[], string[], RegExp]>([
    ['a lost line', [good(1), good(6)], ERRORS, /Line 3 of 4 is in neither file/],
    ['a doubled line', [good(1), good(1), good(3), good(6)], ERRORS, /Line 1 has two results/],
    ['a line in both files', OUTPUT, [failed(3), failed(4)], /Line 3 has two results/],
    ['lines out of order', [good(3), good(1), good(6)], ERRORS, /Line 1 comes after line 3/],
    ['a line that nobody asked', [...OUTPUT, good(7)], ERRORS, /nobody asked/],
    ['the id of another batch', [good(1).replace(ID, 'batch_02'), good(3), good(6)], ERRORS, /has the ids/],
    ['the answer of another line', [good(1), good(3, 6), good(6)], ERRORS, /which no model has given/],
    ['the answer to another prompt', [good(1).replace('b1/1', 'b1/3'), good(3), good(6)], ERRORS, /another prompt/],
    ['a refused line in the output', [good(1), good(3), good(4), good(6)], [], /is refused, and in the output/],
    ['a line cancelled in a completed batch', OUTPUT, [failed(4, 'batch_cancelled')], /is batch_cancelled/],
    ['a line given up too early', [good(1), good(3)], [failed(4), failed(6, 'model_unavailable')], /time left/],
    ['attempts that the model has not seen', OUTPUT, [failed(4, 'model_error', 2)], /was called 1 times/],
    ['a code that does not fit', OUTPUT, [failed(4, 'batch_failed')], /no such end/],
    ['a line that is no JSON', [good(1), good(3).slice(1), good(6)], ERRORS, /is no JSON/],
  ])('%s', (_, output, errors, message) => {
    expect(() => check(output, errors)).toThrow(message);
  });

  test('calls for a batch that never ran', () => {
    const view = aView({ status: 'failed', in_progress_at: null });
    expect(() => check([], [], aKnown(), view)).toThrow(/never ran, and a model got line 1/);
  });

  test('a result that a retry takes over, changed on the way', () => {
    const kept = new Map([[1, { file: 'output' as const, text: good(1) }]]);
    const known = aKnown({ kept, lines: LINES.slice(1) });
    expect(check(OUTPUT, ERRORS, known).size).toBe(4);
    expect(() => check([good(1, 5), good(3), good(6)], ERRORS, known)).toThrow(/is kept from another batch/);
  });
});

describe('a batch', () => {
  test('that goes a way there is none of', () => {
    expect(() =>
      observe(aKnown({ newest: aView({ status: 'finalizing' }) }), aView({ status: 'in_progress' })),
    ).toThrow(/from finalizing to in_progress/);
    expect(() => holdPath(aView({ in_progress_at: null }))).toThrow(/from validating to finalizing/);
    expect(() => holdPath(aView({ finalizing_at: at(0) }))).toThrow(/before it was in_progress/);
    expect(() => holdPath(aView())).not.toThrow();
  });

  test('that changes after its end', () => {
    const known = aKnown({ newest: aView() });
    expect(() => observe(known, aView({ delivered_at: at(9) }))).not.toThrow();
    expect(() => observe(known, aView({ has_output_file: false }))).toThrow(/its has_output_file changed/);
  });

  test('that is completed although its cancel was answered', () => {
    expect(() => observe(aKnown({ cancelAnswered: true }), aView())).toThrow(/Its cancel was answered/);
  });
});

describe('notifications', () => {
  const { status, has_output_file, has_errors_file, request_counts } = aView();
  const told = { status, has_output_file, has_errors_file, request_counts };
  const body = JSON.stringify({ event: 'batch.completed', batch_id: ID, ...told });
  const post: Post = { path: '/', webhookId: 'msg_1', signatureHolds: true, batchId: ID, event: '', body, at: 0 };
  const files = { outputSha: undefined, errorsSha: undefined };
  const known = aKnown({ ended: { view: aView(), files, results: new Map() } });

  test('that repeat one message', () => {
    expect(() => checkPosts(known, aView(), [post, post])).not.toThrow();
  });

  test.each<[string, Post]>([
    ['another webhook-id', { ...post, webhookId: 'msg_2' }],
    ['another body', { ...post, body: body.replace('10', '11').replace('3', '2') }],
    ['another event', { ...post, body: body.replace('batch.completed', 'batch.failed') }],
    ['a bad signature', { ...post, signatureHolds: false }],
  ])('%s', (_, second) => {
    expect(() => checkPosts(known, aView(), [post, second])).toThrow(Violation);
  });
});
