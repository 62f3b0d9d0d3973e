import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';

export type Notification = { event: string; batchId: string; signatureHolds: boolean };

const MAX_BODY_BYTES = 64 * 1024;

/** A loopback receiver of one batch's notification, which checks its signature. */
export async function startReceiver(secret: string) {
  const webhook = new Webhook(secret);
  const waiting: ((notification: Notification) => void)[] = [];
  const got: Notification[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= MAX_BODY_BYTES) chunks.push(chunk);
    });
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8');
      const notification = read(body, request.headers);
      response.writeHead(notification ? 204 : 400).end();
      if (!notification) return;
      got.push(notification);
      for (const resolve of waiting.splice(0)) resolve(notification);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  function read(body: string, headers: NodeJS.Dict<string | string[]>): Notification | undefined {
    let signatureHolds = true;
    try {
      webhook.verify(body, headers as Record<string, string>);
    } catch {
      // The package throws for each way in which a signature does not hold; which one does not matter here.
      signatureHolds = false;
    }
    try {
      const parsed = JSON.parse(body) as { event?: unknown; batch_id?: unknown };
      return { event: String(parsed.event), batchId: String(parsed.batch_id), signatureHolds };
    } catch (error) {
      if (error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    /** The first notification of the batch, or undefined after `timeoutMs`. */
    async wait(timeoutMs: number): Promise<Notification | undefined> {
      if (got[0]) return got[0];
      return await new Promise((resolve) => {
        const timer = setTimeout(() => resolve(undefined), timeoutMs);
        waiting.push((notification) => {
          clearTimeout(timer);
          resolve(notification);
        });
      });
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
