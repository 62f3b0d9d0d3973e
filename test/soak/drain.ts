import type { Post } from '../support/notificationReceiver.ts';
import { checkAgain, getBatch } from './checkEnd.ts';
import { hasEnded, type Known, observe } from './ledger.ts';
import type { Scene } from './life.ts';
import { checkPosts, isTold } from './notifications.ts';
import { hold, holdSame } from './violation.ts';

/** What the receivers got. */
export type Receivers = { posts(batchId: string): readonly Post[]; batches(): string[] };

/** Between two looks at a batch whose receiver was not reached yet. */
const UNTOLD_LOOK = 2;

/** All clients are through: no batch is open, everybody is told, and nothing that has ended has changed. */
export async function drain(scene: Scene, receivers: Receivers, patienceMs: number): Promise<void> {
  for (const known of scene.books.values()) {
    hold(known.ended !== undefined, known.id, () => 'It was left open');
    for (let waitedMs = 0; ; waitedMs += scene.lookMs.least * UNTOLD_LOOK) {
      const view = await getBatch(scene, known.id);
      observe(known, view);
      if (isTold(known, view)) break;
      hold(waitedMs < patienceMs, known.id, () => `Nobody was told: ${JSON.stringify(view.delivery)}`);
      await scene.pause(scene.lookMs.least * UNTOLD_LOOK);
    }
    const posts = receivers.posts(known.id);
    hold(posts.length > 0, known.id, () => 'It was told of, and no receiver was posted to');
    checkPosts(known, known.newest, posts);
    await checkAgain(scene, known);
  }
  await checkList(scene);
}

/** The list holds the batches that were made, and no others. */
async function checkList({ client, books }: Scene): Promise<void> {
  const listed: string[] = [];
  for (let after: string | undefined; ; after = listed.at(-1)) {
    const { body } = await client.call(
      'GET',
      `/batches?take=100&order=asc${after === undefined ? '' : `&after=${after}`}`,
    );
    const page = body as { batches: Known['newest'][]; has_more: boolean };
    for (const view of page.batches) {
      holdSame(view.status, books.get(view.id)?.newest.status, view.id, 'Its status in the list');
      hold(hasEnded(view), view.id, () => `It is left open in the list: ${view.status}`);
      listed.push(view.id);
    }
    if (!page.has_more) break;
  }
  holdSame(listed, [...books.keys()].sort(), '', 'The list of all batches');
}
