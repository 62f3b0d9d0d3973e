import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Webhook } from 'standardwebhooks';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Demo, startDemo } from '../../../local/demo/server.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
let root: string;
let demo: Demo;
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'demo-'));
  mkdirSync(join(root, 'examples'));
  writeFileSync(join(root, 'examples', 'a.jsonl'), '{}\n');
  writeFileSync(join(root, 'secret.txt'), 'secret');
  symlinkSync(join(root, 'secret.txt'), join(root, 'examples', 'link.txt'));
  demo = await startDemo({ port: 0, examplesDir: join(root, 'examples'), secret: SECRET, onNotification: () => {} });
});
afterEach(async () => {
  await demo.close();
  rmSync(root, { recursive: true, force: true });
});

describe('examples', () => {
  it('are served', async () => {
    const answer = await fetch(demo.exampleUrl('a.jsonl'));
    expect(answer.headers.get('content-type')).toBe('application/jsonl');
    expect(await answer.text()).toBe('{}\n');
  });

  it.each([
    '/examples/../secret.txt',
    '/examples/..%2fsecret.txt',
    '/examples/%2e%2e/secret.txt',
    '/examples/link.txt',
    '/examples/',
    '/examples/%zz',
    '/examples/%00',
    '/secret.txt',
  ])('nothing outside of them is: %s', async (path) => {
    // Sent as it is: fetch would take the dots out.
    const socket = connect(Number(new URL(demo.url).port), '127.0.0.1');
    socket.write(`GET ${path} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n`);
    const answer = await text(socket);
    expect(answer).toMatch(/^HTTP\/1\.1 404 /);
    expect(answer).not.toContain('secret');
  });
});

describe('notifications', () => {
  const body = JSON.stringify({ event: 'batch.completed', batch_id: 'batch_1', status: 'completed' });
  const post = (signature: string, sent = body) =>
    fetch(demo.receiverUrl, {
      method: 'POST',
      headers: {
        'webhook-id': 'msg_1',
        'webhook-timestamp': String(Math.floor(Date.now() / 1000)),
        'webhook-signature': signature,
      },
      body: sent,
    });

  it('with a signature that holds are taken', async () => {
    expect((await post(new Webhook(SECRET).sign('msg_1', new Date(), body))).status).toBe(204);
    expect(demo.notifications()).toMatchObject([{ signatureHolds: true, body: { batch_id: 'batch_1' } }]);
  });

  it('with one that does not are refused, and shown as such', async () => {
    const other = new Webhook(Buffer.alloc(32, 8).toString('base64'));
    expect((await post(other.sign('msg_1', new Date(), body))).status).toBe(401);
    expect(demo.notifications()).toMatchObject([{ signatureHolds: false, problem: expect.any(String) }]);
  });

  it('that are none are refused', async () => {
    expect((await post('v1,x', 'not json')).status).toBe(400);
    expect(demo.notifications()).toEqual([]);
  });
});
