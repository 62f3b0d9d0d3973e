import { Webhook } from 'standardwebhooks';
import type { ReceiverAnswer } from '../../shared/ports.ts';
import type { VirtualTime } from '../simulation/virtualTime.ts';
import { MOODS } from '../soak/batchSpec.ts';
import type { Receivers } from '../soak/drain.ts';
import type { View } from '../soak/ledger.ts';
import { checkReceived, replyOf } from '../soak/notifications.ts';
import { hold, Violation } from '../soak/violation.ts';
import type { Post } from '../support/notificationReceiver.ts';
import type { Random } from '../support/random.ts';

const HANG_MS = 15_000;

/** The clients' receivers, by project and mood: `http://127.0.0.1/<project>/<mood>`. Each asks the API what is true. */
export function createChaosReceivers(world: {
  time: VirtualTime;
  random: Random;
  /** What the API says at this moment. */
  viewOf(projectId: string, batchId: string): Promise<View>;
  /** The newest, and those before it: what was signed a moment before a rotation may come after it. */
  secretsOf(projectId: string): Promise<string[]>;
}): Receivers & {
  receive(url: string, headers: Record<string, string>, body: string): Promise<ReceiverAnswer>;
  violation(): Violation | undefined;
} {
  const { time, random } = world;
  const posts = new Map<string, Post[]>();
  let violation: Violation | undefined;

  async function take(url: string, headers: Record<string, string>, body: string): Promise<ReceiverAnswer> {
    const told = JSON.parse(body) as { event: string; batch_id: string; project_id: string };
    const { batch_id: id, project_id: projectId, event } = told;
    const [project = '', mood = ''] = new URL(url).pathname.split('/').slice(1);
    hold(project === projectId, id, () => `The receiver of ${project} was told of a batch of ${projectId}`);
    const post: Post = {
      ...{ path: `/${mood}`, batchId: id, event, body, at: time.now },
      webhookId: String(headers['webhook-id']),
      signatureHolds: (await world.secretsOf(projectId)).some((secret) => isSigned(secret, headers, body)),
    };
    const earlier = posts.get(id) ?? [];
    posts.set(id, [...earlier, post]);
    checkReceived(await world.viewOf(projectId, id), body);
    const reply = replyOf(MOODS.find((each) => each === mood) ?? 'well', earlier.length, random);
    if (reply === 'hang') await time.clock.sleep(HANG_MS);
    return typeof reply === 'number'
      ? { kind: 'answered', status: reply }
      : { kind: 'unreachable', reason: `it ${reply}s` };
  }

  return {
    posts: (id) => posts.get(id) ?? [],
    batches: () => [...posts.keys()],
    violation: () => violation,
    async receive(url, headers, body) {
      try {
        return await take(url, headers, body);
      } catch (error) {
        violation ??= error instanceof Violation ? error : new Violation(undefined, String((error as Error).stack));
        return { kind: 'unreachable', reason: 'a rule was broken' };
      }
    },
  };
}

/** By any of its signatures, as receivers check it; the time is virtual. */
function isSigned(secret: string, headers: Record<string, string>, body: string): boolean {
  const at = new Date(Number(headers['webhook-timestamp']) * 1000);
  const signature = new Webhook(secret).sign(String(headers['webhook-id']), at, body);
  return String(headers['webhook-signature']).split(' ').includes(signature);
}
