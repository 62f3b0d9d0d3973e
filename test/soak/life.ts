import { gzipSync } from 'node:zlib';
import type { Random } from '../support/random.ts';
import type { BatchSpec } from './batchSpec.ts';
import { checkEnd, getBatch, type World } from './checkEnd.ts';
import { linesOf } from './checkLines.ts';
import { hasEnded, type Known, observe, type Results, type View } from './ledger.ts';
import type { Serving } from './source.ts';
import { hold, holdSame, Violation } from './violation.ts';

/** What a client has to do with, and what it leaves behind for others to look at. */
export type Scene = World & {
  source: { offer(name: string, content: Buffer, serving: Serving, drips: number): string };
  receiverUrl: string;
  /** Every batch that was accepted, by id. */
  books: Map<string, Known>;
  counts: { cancels: number; cancelsTooLate: number; retries: number; retriesRefused: number; snapshots: number };
  /** Resolves later; rejects once nobody needs to wait any more. */
  pause(ms: number): Promise<void>;
  /** Between two looks at a batch; `eager`, where it waits for a moment that is short. */
  lookMs: { least: number; most: number; eager: number };
  /** Over: what is there is brought to its end, nothing new is begun. */
  isClosing(): boolean;
};

/** One client and its batch, from the upload to the last retry. */
export async function live(scene: Scene, random: Random, spec: BatchSpec): Promise<void> {
  const body = {
    name: spec.name,
    type: spec.type,
    input_file_url: await bringInput(scene, spec),
    // The receiver goes by the path.
    callback_url: `${scene.receiverUrl}/${spec.mood}`,
    completion_window: spec.completionWindow,
    on_invalid_line: spec.onInvalidLine,
    metadata: { kind: spec.kind },
  };
  const view = await create(scene, '/batches', body, spec.name);
  const { lines } = spec;
  let known = enter(scene, { spec, lines, kept: new Map(), isRetry: false, view });
  await follow(scene, random, known);
  for (const [index, { merge }] of spec.retries.entries()) {
    if (scene.isClosing()) return;
    const retry = await retryOf(scene, known, { merge, idempotencyKey: `${spec.name} retry ${index}` });
    if (!retry) return;
    known = retry;
    await follow(scene, random, known);
  }
}

async function bringInput({ client, source }: Scene, { name, content, input, drips }: BatchSpec): Promise<string> {
  if (input !== 'upload' && input !== 'packed_upload') return source.offer(name, content, input, drips);
  const bytes = input === 'upload' ? content : gzipSync(content);
  // An upload of no bytes cannot be announced.
  if (bytes.length === 0) return source.offer(name, content, 'plain', drips);
  for (;;) {
    const { status, body } = await client.call('POST', '/files', { body: { bytes: bytes.length } });
    if (status !== 201) throw new Violation(undefined, `POST /files answered ${status}: ${JSON.stringify(body)}`);
    // Refused: it was signed by a system that is no more.
    if ((await client.upload(String(body.upload_url), bytes)) === 'taken') return String(body.input_file_url);
  }
}

/** The key finds the batch again whose answer was lost. */
async function create({ client }: Scene, path: string, body: unknown, idempotencyKey: string): Promise<View> {
  const { status, body: made } = await client.call('POST', path, { body, idempotencyKey });
  if (status !== 201 && status !== 200)
    throw new Violation(undefined, `POST ${path} answered ${status}: ${JSON.stringify(made)}`);
  return made as View;
}

function enter(
  scene: Scene,
  { view, ...made }: Pick<Known, 'spec' | 'lines' | 'kept' | 'isRetry'> & { view: View },
): Known {
  const shown = { output: new Set<string>(), errors: new Set<string>() };
  const known: Known = { ...made, id: view.id, newest: view, cancelAnswered: false, shown, ended: undefined };
  hold(!scene.books.has(view.id), view.id, () => 'Another request was answered with the same batch');
  scene.books.set(view.id, known);
  return known;
}

/** Looks at the batch until it has ended, and does what its client does meanwhile; then checks all of it. */
async function follow(scene: Scene, random: Random, known: Known): Promise<void> {
  const { id, spec } = known;
  const cancel = known.isRetry ? undefined : spec.cancel;
  const cancelAfterLooks = cancel === 'later' ? random.int(3, 40) : random.int(0, 3);
  let isCancelled = false;
  if (cancel === 'at_once') {
    await cancelIt(scene, known);
    isCancelled = true;
  }
  for (let looks = 0; ; ) {
    const view = await getBatch(scene, id);
    observe(known, view);
    if (hasEnded(view)) break;
    const isMoment = cancel === view.status || (cancel === 'later' && view.status !== 'finalizing');
    if (isMoment && looks++ >= cancelAfterLooks && !isCancelled) {
      isCancelled = true;
      await cancelIt(scene, known);
    }
    if (spec.takesSnapshots && random.chance(0.2)) await takeSnapshot(scene, known);
    // Gathering a small batch takes a moment: who waits for it looks all the time.
    const waitsForEnd = cancel === 'finalizing' && view.status === 'in_progress';
    const { least, most, eager } = scene.lookMs;
    await scene.pause(waitsForEnd ? eager : random.int(least, most));
  }
  if (cancel === 'ended') await cancelIt(scene, known);
  await checkEnd(scene, known);
}

async function cancelIt(scene: Scene, known: Known): Promise<void> {
  const { id, spec } = known;
  const once = async () => {
    const { status, body } = await scene.client.call('POST', `/batches/${id}/cancel`);
    const view = body as View;
    if (status === 409) {
      scene.counts.cancelsTooLate++;
      const now = await getBatch(scene, id);
      hold(hasEnded(now) && now.status !== 'cancelled', id, () => `Its cancel answered 409, and it is ${now.status}`);
      return;
    }
    hold(status === 200, id, () => `Its cancel answered ${status}: ${JSON.stringify(body)}`);
    hold(['cancelling', 'cancelled'].includes(view.status), id, () => `Its cancel was answered with ${view.status}`);
    scene.counts.cancels++;
    known.cancelAnswered = true;
  };
  await Promise.all(spec.cancelsTwice ? [once(), once()] : [once()]);
}

/** What is shown while it runs is in order, and is what its files hold at the end. */
async function takeSnapshot(scene: Scene, known: Known): Promise<void> {
  const { id } = known;
  const { status, body } = await scene.client.call('GET', `/batches/${id}/download?partial=true`);
  if (status === 202) return;
  hold(status === 200, id, () => `Its partial download answered ${status}: ${JSON.stringify(body)}`);
  const read = async (url: unknown) => (typeof url === 'string' ? scene.client.download(url) : undefined);
  const [output, errors] = await Promise.all([read(body.output_file_url), read(body.errors_file_url)]);
  if (output === 'gone' || errors === 'gone') return;
  scene.counts.snapshots++;
  const lineOf = new Map([...known.lines.map(({ line, customId }) => [customId, line] as const)]);
  let before = 0;
  for (const text of linesOf(id, output)) {
    known.shown.output.add(text);
    const line = lineOf.get((JSON.parse(text) as { custom_id: string }).custom_id);
    if (line === undefined) continue;
    hold(line > before, id, () => `In a partial output line ${line} comes after ${before}`);
    before = line;
  }
  before = 0;
  for (const text of linesOf(id, errors)) {
    known.shown.errors.add(text);
    const { line } = JSON.parse(text) as { line: number };
    hold(line > before, id, () => `In partial errors line ${line} comes after ${before}`);
    before = line;
  }
}

/** A new batch of the lines that failed; undefined where there is nothing to repeat. */
async function retryOf(
  scene: Scene,
  known: Known,
  { merge, idempotencyKey }: { merge: boolean; idempotencyKey: string },
): Promise<Known | undefined> {
  const { id, spec, ended } = known;
  if (!ended) throw new Error(`The batch ${id} was not followed to its end`);
  const failed = known.lines.filter(({ line }) => ended.results.get(line)?.file === 'errors');
  const body = { merge, callback_url: `${scene.receiverUrl}/${spec.mood}`, completion_window: spec.retryWindow };
  const { status, body: answer } = await scene.client.call('POST', `/batches/${id}/retry`, { body, idempotencyKey });
  if (status === 409) {
    scene.counts.retriesRefused++;
    const hasRun = ended.view.in_progress_at !== null;
    hold(failed.length === 0 || !hasRun, id, () => `Its retry was refused: ${JSON.stringify(answer)}`);
    return undefined;
  }
  hold(status === 201 || status === 200, id, () => `Its retry answered ${status}: ${JSON.stringify(answer)}`);
  hold(failed.length > 0, id, () => 'It has no failed line, and its retry was accepted');
  scene.counts.retries++;
  const view = answer as View;
  holdSame([view.retry_of, view.type], [id, spec.type], view.id, 'Of a retry, retry_of and type');
  const kept: Results = new Map();
  if (merge)
    for (const [line, result] of ended.results)
      if (result.file === 'output') kept.set(line, { file: 'output', text: result.text.replace(id, view.id) });
  return enter(scene, { spec, lines: failed, kept, isRetry: true, view });
}
