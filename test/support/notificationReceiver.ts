import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';

/** One POST of a notification, as it came. */
export type Post = {
  /** The path that it was posted to. */
  path: string;
  webhookId: string;
  /** By the package that receivers use. */
  signatureHolds: boolean;
  batchId: string;
  event: string;
  body: string;
  at: number;
};

/** What the receiver does with a POST: answers that status, never answers, or cuts the connection. */
export type Reply = number | 'hang' | 'cut';

/** A client's receiver that keeps what came, batch by batch, and answers what `reply` says. */
export async function startNotificationReceiver(options: {
  /** The project's signing secret; known once a local run has been up. */
  secret(): string;
  reply(post: Post, earlier: readonly Post[]): Reply | Promise<Reply>;
}) {
  const byBatch = new Map<string, Post[]>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('error', () => response.destroy());
    request.on('end', async () => {
      const body = Buffer.concat(chunks).toString('utf8');
      const { event, batch_id } = JSON.parse(body) as { event: string; batch_id: string };
      const post = {
        path: request.url ?? '/',
        webhookId: String(request.headers['webhook-id'] ?? ''),
        signatureHolds: isSignedWith(options.secret(), body, request.headers),
        batchId: batch_id,
        event,
        body,
        at: Date.now(),
      };
      const earlier = byBatch.get(batch_id) ?? [];
      byBatch.set(batch_id, [...earlier, post]);
      const status = await options.reply(post, earlier);
      if (status === 'cut') response.destroy();
      else if (status !== 'hang')
        response.writeHead(status, status < 400 && status >= 300 ? { location: '/' } : {}).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // A TCP server that is listening has an address of this shape.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    posts: (batchId: string): readonly Post[] => byBatch.get(batchId) ?? [],
    batches: () => [...byBatch.keys()],
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

function isSignedWith(secret: string, body: string, headers: IncomingHttpHeaders): boolean {
  try {
    // Those that it looks at come once.
    new Webhook(secret).verify(body, headers as Record<string, string>);
    return true;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
}
