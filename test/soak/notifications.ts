import { type Post, type Reply, startNotificationReceiver } from '../support/notificationReceiver.ts';
import type { Random } from '../support/random.ts';
import { MOODS, type Mood } from './batchSpec.ts';
import { hasEnded, type Known, type View } from './ledger.ts';
import { hold, holdSame } from './violation.ts';

/** Receivers by the path that they are posted to: each path is a mood. `check` is asked before anything is answered. */
export function startReceivers(random: Random, secret: () => string, check: (post: Post) => Promise<void>) {
  return startNotificationReceiver({
    secret,
    async reply(post, earlier) {
      await check(post);
      return replyOf(MOODS.find((mood) => post.path === `/${mood}`) ?? 'well', earlier.length, random);
    },
  });
}

/** What the body says is what the API says when it is received: not before the batch has ended. */
export function checkReceived(view: View, body: string): void {
  const { id } = view;
  hold(hasEnded(view), id, () => `A receiver was told of its end, and it is ${view.status}: ${body}`);
  const { status, event, has_output_file, has_errors_file, request_counts } = JSON.parse(body) as View;
  const wanted = [view.status, `batch.${view.status}`, view.has_output_file, view.has_errors_file, view.request_counts];
  holdSame(
    [status, event, has_output_file, has_errors_file, request_counts],
    wanted,
    id,
    'A notification when it came',
  );
}

export function replyOf(mood: Mood, earlier: number, random: Random): Reply {
  switch (mood) {
    case 'well':
      return random.pick([200, 202, 204]);
    case 'gone':
      return 410;
    case 'fails_often':
      return earlier < 3 ? random.pick([500, 503, 404]) : 204;
    case 'fails_first':
      return earlier < 1 ? 500 : 204;
    case 'hangs_first':
      return earlier < 1 ? 'hang' : 204;
    case 'cuts_first':
      return earlier < 1 ? 'cut' : 204;
    case 'redirects_first':
      return earlier < 1 ? 302 : 204;
  }
}

/** What was posted of a batch: one message, whatever how often, that says how it ended. */
export function checkPosts(known: Known, view: View, posts: readonly Post[]): void {
  const { id } = known;
  for (const post of posts) {
    hold(known.ended !== undefined, id, () => 'A notification was sent before it had ended');
    hold(post.signatureHolds, id, () => 'The signature of a notification does not hold');
    holdSame(post.webhookId, posts[0]?.webhookId, id, 'The webhook-id of a repeated notification');
    holdSame(post.body, posts[0]?.body, id, 'The body of a repeated notification');
    const { event, status, has_output_file, has_errors_file, request_counts } = JSON.parse(post.body) as View;
    const told = { event, status, has_output_file, has_errors_file, request_counts };
    const wanted = { event: `batch.${view.status}`, status: view.status };
    const files = { has_output_file: view.has_output_file, has_errors_file: view.has_errors_file };
    holdSame(told, { ...wanted, ...files, request_counts: view.request_counts }, id, 'A notification');
  }
}

/** Whether telling has come to its end: delivered, or given up where the receiver is gone. */
export function isTold(known: Known, view: View): boolean {
  if (view.delivery?.gave_up_at) {
    hold(known.spec.mood === 'gone', known.id, () => `Telling a receiver that is ${known.spec.mood} was given up`);
    return true;
  }
  return view.delivered_at !== null;
}
