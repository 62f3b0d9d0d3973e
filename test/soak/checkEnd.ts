import { createHash } from 'node:crypto';
import { checkLines, linesOf, type Tally, type Witness } from './checkLines.ts';
import type { Client } from './client.ts';
import { type EndedFiles, hasEnded, holdPath, type Known, observe, type View } from './ledger.ts';
import type { ModelBooks } from './model.ts';
import type { System } from './system.ts';
import { hold, holdSame } from './violation.ts';

export type Bounds = {
  /** From a cancel to the end, while the system is up; after a restart it has longer. */
  cancelSeconds: number;
  cancelAfterRestartSeconds: number;
  /** From the deadline to the end of a batch that it ends. */
  expirySeconds: number;
  /** Clocks of the machines that it runs on may differ by so much. */
  skewMs: number;
};

export type World = {
  client: Client;
  model: ModelBooks & Witness;
  system: Pick<System, 'wasUp' | 'upBefore'>;
  bounds: Bounds;
  tally: Tally;
  /** The longest that were seen. */
  longest: { cancelMs: number; expiryMs: number };
};

const MAX_BATCH_ERRORS = 100;

export async function getBatch({ client }: Pick<World, 'client'>, id: string): Promise<View> {
  const { status, body } = await client.call('GET', `/batches/${id}`);
  hold(status === 200, id, () => `GET of it answered ${status}: ${JSON.stringify(body)}`);
  // Read field by field from here on; what is missing differs from what is expected.
  return body as View;
}

/** Looks at all that a batch left behind when it ended. */
export async function checkEnd(world: World, known: Known): Promise<void> {
  const { id } = known;
  const view = await getBatch(world, id);
  hold(hasEnded(view), id, () => `It had ended and is ${view.status}`);
  observe(known, view);
  holdPath(view, world.bounds.skewMs);
  const files = await readFiles(world, view);
  const results = checkLines(known, view, files, world.model, world.tally);
  checkCounts(known, view, files);
  checkExpectedEnd(known, view, world.bounds);
  checkShown(known, files);
  await checkReceipt(world, known, view, files);
  checkBounds(world, view);
  known.ended = { view, files: { outputSha: sha(files.output), errorsSha: sha(files.errors) }, results };
}

/** Looks at an ended batch once more: nothing of it may have changed. */
export async function checkAgain(world: World, known: Known): Promise<void> {
  const view = await getBatch(world, known.id);
  observe(known, view);
  const files = await readFiles(world, view);
  const now: EndedFiles = { outputSha: sha(files.output), errorsSha: sha(files.errors) };
  holdSame(now, known.ended?.files, known.id, 'Its files have changed');
}

type Files = { output: Buffer | undefined; errors: Buffer | undefined };

async function readFiles({ client }: World, { id, has_output_file, has_errors_file }: View): Promise<Files> {
  for (;;) {
    const { status, body } = await client.call('GET', `/batches/${id}/download`);
    hold(status === 200, id, () => `The download answered ${status}: ${JSON.stringify(body)}`);
    const given = [body.output_file_url !== null, body.errors_file_url !== null];
    holdSame(
      given,
      [has_output_file, has_errors_file],
      id,
      'The URLs there are, by has_output_file and has_errors_file',
    );
    const read = async (url: unknown) => (typeof url === 'string' ? client.download(url) : undefined);
    const [output, errors] = await Promise.all([read(body.output_file_url), read(body.errors_file_url)]);
    // The system may have been started anew, on other ports, since the URLs were signed.
    if (output !== 'gone' && errors !== 'gone') return { output, errors };
  }
}

function checkCounts({ id, lines, kept }: Known, view: View, files: Files): void {
  const { total, completed, failed } = view.request_counts;
  const [output, errors] = [linesOf(id, files.output), linesOf(id, files.errors)];
  holdSame([completed, failed], [output.length, errors.length], id, 'Its counts of completed and failed lines');
  hold(files.output === undefined || output.length > 0, id, () => 'It has an empty output file');
  hold(files.errors === undefined || errors.length > 0, id, () => 'It has an empty errors file');
  if (view.in_progress_at !== null) holdSame(total, lines.length + kept.size, id, 'Its total of lines');
  // What the record tells of the first failed lines is what the file tells.
  const first = errors.slice(0, MAX_BATCH_ERRORS).map((text) => {
    const { line, error } = JSON.parse(text) as { line: number; error: { code: string } };
    return [line, error.code];
  });
  const told = view.errors.filter(({ line }) => line !== null).map(({ line, code }) => [line, code]);
  holdSame(told, first, id, 'The first failed lines on its record');
}

/** The ends that there are for what was asked and what its client did. */
function checkExpectedEnd({ id, spec, lines, cancelAnswered }: Known, view: View, { skewMs }: Bounds): void {
  const { status } = view;
  if (cancelAnswered) {
    holdSame(status, 'cancelled', id, 'It was cancelled');
    return;
  }
  hold(status !== 'cancelled', id, () => 'It is cancelled, and nobody has asked for that');
  const isRefused = lines.length === 0 || (spec.onInvalidLine === 'fail' && lines.some((line) => 'badCode' in line));
  const endedAt = Date.parse(view.expired_at ?? view.completed_at ?? view.created_at);
  const isLate = Date.parse(view.expires_at) <= endedAt + skewMs;
  if (status === 'failed') {
    hold(isRefused, id, () => `It failed, and its input is good: ${JSON.stringify(view.errors.slice(0, 3))}`);
    hold(view.in_progress_at === null, id, () => 'It was run although its input is bad');
  } else if (status === 'expired') hold(isLate, id, () => `It expired before ${view.expires_at}`);
  else hold(!isRefused, id, () => 'It was completed although its input is bad');
}

/** What a partial download has shown was paid for, and committed: it is in the files at the end. */
function checkShown({ id, shown }: Known, files: Files): void {
  for (const file of ['output', 'errors'] as const) {
    const lines = new Set(linesOf(id, files[file]));
    for (const text of shown[file])
      hold(lines.has(text), id, () => `${file} lacks a line that was shown before: ${text}`);
  }
}

async function checkReceipt({ client }: World, known: Known, view: View, files: Files): Promise<void> {
  const { id, spec } = known;
  const { status, body } = await client.call('GET', `/batches/${id}/receipt`);
  hold(status === 200, id, () => `The receipt answered ${status}: ${JSON.stringify(body)}`);
  const { completed, failed } = view.request_counts;
  const digest = (file: Buffer | undefined) => (file ? { bytes: file.length, sha256: sha(file) } : null);
  const { input, ...rest } = body;
  const wanted = { batch_id: id, lines: completed + failed, completed, failed };
  holdSame(rest, { ...wanted, output: digest(files.output), errors: digest(files.errors) }, id, 'Its receipt');
  // Null where the batch ended before its input was read to the end.
  if (input !== null || view.in_progress_at !== null) holdSame(input, digest(spec.content), id, "The receipt's input");
}

function checkBounds({ system, bounds, longest }: World, view: View): void {
  if (view.cancelled_at !== null && view.cancelling_at !== null) {
    const [from, to] = [Date.parse(view.cancelling_at), Date.parse(view.cancelled_at)];
    const wasUp = system.wasUp(from, to);
    const seconds = wasUp ? bounds.cancelSeconds : bounds.cancelAfterRestartSeconds;
    const tookMs = system.upBefore(to, from);
    if (wasUp) longest.cancelMs = Math.max(longest.cancelMs, tookMs);
    hold(tookMs <= seconds * 1000, view.id, () => `Its cancel took ${tookMs} ms while the system was up`);
  }
  if (view.expired_at !== null) {
    const [from, to] = [Date.parse(view.expires_at), Date.parse(view.expired_at)];
    const tookMs = system.upBefore(to, from);
    if (system.wasUp(from, to)) longest.expiryMs = Math.max(longest.expiryMs, tookMs);
    hold(tookMs <= bounds.expirySeconds * 1000, view.id, () => `It expired ${tookMs} ms after its deadline`);
  }
}

function sha(file: Buffer | undefined): string | undefined {
  return file && createHash('sha256').update(file).digest('hex');
}
