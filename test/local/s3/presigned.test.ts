import { request } from 'node:http';
import { connect } from 'node:net';
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createS3Client } from '../../../shared/adapters/s3/client.ts';
import { createFileStore } from '../../../shared/adapters/s3/fileStore.ts';
import { LOCAL_S3, type LocalS3, startLocalS3 } from '../../support/localS3.ts';

let s3: LocalS3;
let skewMs = 0;
beforeAll(async () => {
  s3 = await startLocalS3({ now: () => Date.now() + skewMs });
});
afterAll(() => s3.close());

const files = () => createFileStore({ client: s3.client, bucket: s3.bucket });
const upload = (bytes: number, contentType = 'application/jsonl') =>
  files().signUpload('uploads/project/file', { expiresSeconds: 900, bytes, contentType });
const keysUnder = async (Prefix: string) =>
  ((await s3.client.send(new ListObjectsV2Command({ Bucket: s3.bucket, Prefix }))).Contents ?? []).map(
    ({ Key }) => Key,
  );

/** With the path as it is written; answers the status. */
function rawPut(url: string, body: string): Promise<number | undefined> {
  const { hostname, port } = new URL(url);
  const path = url.slice(url.indexOf('/', 'http://'.length));
  return new Promise((resolve, reject) => {
    const sent = request(
      { hostname, port, path, method: 'PUT', headers: { 'content-length': body.length } },
      (answer) => {
        answer.resume();
        answer.on('end', () => resolve(answer.statusCode));
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}

/** Announces five bytes, sends `body` and hangs up; ends once the server has done so too. */
function sendRaw(url: string, body: string): Promise<void> {
  const { hostname, port, host } = new URL(url);
  const path = url.slice(url.indexOf('/', 'http://'.length));
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname, () => {
      socket.end(`PUT ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 5\r\nConnection: close\r\n\r\n${body}`);
    });
    socket.resume();
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
  });
}
const put = (url: string, body: string, contentType = 'application/jsonl') =>
  fetch(url, { method: 'PUT', body, headers: { 'content-type': contentType } });

describe('a pre-signed PUT', () => {
  it('takes exactly the bytes and the type that were signed', async () => {
    const url = await upload(5);
    expect((await put(url, 'hello')).status).toBe(200);
    expect(await files().info('uploads/project/file')).toMatchObject({ bytes: 5 });
  });

  it.each([
    ['more bytes', 'hello!', 'application/jsonl'],
    ['fewer bytes', 'hell', 'application/jsonl'],
    ['another type', 'hello', 'text/html'],
  ])('refuses %s', async (_, body, type) => {
    const answer = await put(await upload(5), body, type);
    expect(answer.status).toBe(403);
    expect(await answer.text()).toContain('<Code>SignatureDoesNotMatch</Code>');
  });

  it('refuses a body without a length', async () => {
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(Buffer.from('hello'));
        controller.close();
      },
    });
    const url = await upload(5);
    const answer = await fetch(url, {
      method: 'PUT',
      body,
      duplex: 'half',
      headers: { 'content-type': 'application/jsonl' },
    });
    expect(answer.status).toBe(403);
    const unsigned = await getSignedUrl(s3.client, new PutObjectCommand({ Bucket: s3.bucket, Key: 'any size' }));
    const chunked = await fetch(unsigned, {
      method: 'PUT',
      duplex: 'half',
      body: new ReadableStream({
        start(controller) {
          controller.enqueue(Buffer.from('hello'));
          controller.close();
        },
      }),
    });
    expect(chunked.status).toBe(411);
  });

  const KEY = 'uploads/project/file_1';
  const signedFor = (key: string) => files().signUpload(key, { expiresSeconds: 900, bytes: 5, contentType: undefined });
  const changed = (name: string, value: string | null) => (url: string) => {
    const to = new URL(url);
    if (value === null) to.searchParams.delete(name);
    else to.searchParams.set(name, value);
    return to.toString();
  };

  it.each<[string, (url: string) => string]>([
    ['the upload beside it', (url) => url.replace('file_1', 'file_2')],
    ["another project's", (url) => url.replace('/project/', '/other/')],
    ['another project’s, by the way of its own', (url) => url.replace('/project/', '/project/%2E%2E/other/')],
    ['one below its own', (url) => url.replace('/file_1', '/file_1/more')],
    ['its own with the slash encoded', (url) => url.replace('project/file_1', 'project%2Ffile_1x')],
    ['another kind of object', (url) => url.replace('/uploads/', '/outputs/')],
  ])('reaches no other key: %s', async (_, elsewhere) => {
    const url = elsewhere(await signedFor(KEY));
    // As it stands: fetch itself would take the dots out of the path.
    const status = await rawPut(url, 'hello');
    expect(status).toBe(403);
    expect(await keysUnder('')).not.toContainEqual(expect.stringMatching(/other|file_2|more|file_1x|outputs\/project/));
  });

  it.each<[string, (url: string) => string]>([
    ['a longer life', changed('X-Amz-Expires', '604800')],
    ['another time of signing', changed('X-Amz-Date', '20990101T000000Z')],
    ['no length among the signed headers', changed('X-Amz-SignedHeaders', 'host')],
    ['no signed headers at all', changed('X-Amz-SignedHeaders', null)],
    ['another signer', changed('X-Amz-Credential', 'someone/20260101/us-east-1/s3/aws4_request')],
    ['no signature', changed('X-Amz-Signature', null)],
    ['one more parameter', changed('x-amz-acl', 'public-read')],
    ['another operation', changed('uploads', '')],
    ['the tags of another object', changed('x-amz-tagging', 'a=b')],
  ])('is refused with %s', async (_, tamper) => {
    const answer = await fetch(tamper(await signedFor(KEY)), { method: 'PUT', body: 'hello' });
    expect([400, 403]).toContain(answer.status);
  });

  it.each(['GET', 'HEAD', 'DELETE', 'POST'])('opens nothing to %s', async (method) => {
    await files().put(KEY, 'there');
    const answer = await fetch(await signedFor(KEY), { method, ...(method === 'POST' ? { body: 'hello' } : {}) });
    expect(answer.status).toBe(403);
    expect(await files().readSmall(KEY, 100)).toEqual(Buffer.from('there'));
  });

  it('ends when it expires', async () => {
    const url = await signedFor(KEY);
    skewMs = 902_000;
    const answer = await fetch(url, { method: 'PUT', body: 'hello' }).finally(() => {
      skewMs = 0;
    });
    expect(answer.status).toBe(403);
    expect(await answer.text()).toContain('Request has expired');
  });

  it.each([
    ['more', 'hello!'],
    ['fewer', 'hell'],
    ['no', ''],
  ])('of any type refuses %s bytes as well', async (_, body) => {
    const answer = await fetch(await signedFor(KEY), { method: 'PUT', body });
    expect(answer.status).toBe(403);
  });

  it('that says five bytes and sends fewer leaves nothing, and more are no part of it', async () => {
    const key = 'uploads/project/cut';
    const url = await signedFor(key);
    await sendRaw(url, 'hel');
    expect(await files().info(key)).toBeUndefined();
    await sendRaw(url, 'hello and more');
    expect((await files().readSmall(key, 100))?.toString()).toBe('hello');
  });

  it('refuses an unsigned x-amz- header', async () => {
    const url = await upload(5);
    const headers = { 'content-type': 'application/jsonl', 'x-amz-meta-sneaked': 'in' };
    const answer = await fetch(url, { method: 'PUT', body: 'hello', headers });
    expect(await answer.text()).toContain('not signed');
  });

  it("made by a client that adds checksums itself carries an empty body's, and is refused as by S3", async () => {
    const client = createS3Client({
      endpoint: s3.url,
      region: LOCAL_S3.region,
      credentials: LOCAL_S3.credentials,
      requestChecksumCalculation: 'WHEN_SUPPORTED',
    });
    const url = await getSignedUrl(client, new PutObjectCommand({ Bucket: s3.bucket, Key: 'baked' }));
    const answer = await fetch(url, { method: 'PUT', body: 'hello' });
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain('<Code>BadDigest</Code>');
    client.destroy();
  });

  it('is told to go on only once its signature holds', async () => {
    const expecting = (url: string) =>
      new Promise<string[]>((resolve, reject) => {
        const events: string[] = [];
        const sent = request(url, {
          method: 'PUT',
          headers: { 'content-type': 'application/jsonl', 'content-length': 5, expect: '100-continue' },
        });
        sent.on('continue', () => {
          events.push('continue');
          sent.end('hello');
        });
        sent.on('response', (answer) => {
          events.push(String(answer.statusCode));
          answer.resume();
          answer.on('end', () => resolve(events));
          sent.destroy();
        });
        sent.on('error', reject);
        sent.flushHeaders();
      });
    const url = await upload(5);
    expect(await expecting(url)).toEqual(['continue', '200']);
    expect(await expecting(url.replace('uploads', 'downloads'))).toEqual(['403']);
  });
});

describe('a pre-signed GET', () => {
  it('is answered with the name that it asks for', async () => {
    await files().put('outputs/é.jsonl', '{"ä":1}\n', 'application/jsonl');
    const url = await files().signDownload('outputs/é.jsonl', { expiresSeconds: 60, fileName: 'grüße "1".jsonl' });
    const answer = await fetch(url);
    expect(answer.headers.get('content-disposition')).toBe(
      `attachment; filename="gr__e _1_.jsonl"; filename*=UTF-8''gr%C3%BC%C3%9Fe%20%221%22.jsonl`,
    );
    expect(answer.headers.get('content-type')).toBe('application/jsonl');
    expect(await answer.text()).toBe('{"ä":1}\n');
  });

  it('serves ranges', async () => {
    await files().put('ranged', '0123456789');
    const url = await files().signDownload('ranged', { expiresSeconds: 60, fileName: 'x' });
    const answer = await fetch(url, { headers: { range: 'bytes=2-4' } });
    expect([answer.status, await answer.text()]).toEqual([206, '234']);
  });

  it('ends when it expires', async () => {
    await files().put('short-lived', 'x');
    const url = await files().signDownload('short-lived', { expiresSeconds: 60, fileName: 'x' });
    expect((await fetch(url)).status).toBe(200);
    skewMs = 62_000;
    const answer = await fetch(url).finally(() => {
      skewMs = 0;
    });
    expect(answer.status).toBe(403);
    expect(await answer.text()).toMatch(/<Code>AccessDenied<\/Code><Message>Request has expired<\/Message>/);
  });

  it.each([
    ['key', (url: string) => url.replace('/secret', '/secrex')],
    ['expiry', (url: string) => url.replace('X-Amz-Expires=900', 'X-Amz-Expires=90000')],
    ['disposition', (url: string) => `${url}&response-content-type=text/html`],
    ['signature', (url: string) => url.replace(/X-Amz-Signature=./, 'X-Amz-Signature=g')],
  ])('is refused with another %s', async (_, tamper) => {
    await files().put('secret', 'x');
    const url = await getSignedUrl(s3.client, new GetObjectCommand({ Bucket: s3.bucket, Key: 'secret' }));
    expect((await fetch(url)).status).toBe(200);
    const answer = await fetch(tamper(url));
    expect(answer.status).toBe(403);
    expect(await answer.text()).toContain('<Code>SignatureDoesNotMatch</Code>');
  });

  it('opens nothing to another method, and nothing is open without a signature', async () => {
    await files().put('guarded', 'x');
    const url = await files().signDownload('guarded', { expiresSeconds: 60, fileName: 'x' });
    expect((await fetch(url, { method: 'DELETE' })).status).toBe(403);
    expect((await fetch(`${s3.url}/${s3.bucket}/guarded`)).status).toBe(403);
    expect((await fetch(`${s3.url}/`)).status).toBe(403);
  });
});

it('requests signed in the header are verified as well', async () => {
  const client = createS3Client({
    endpoint: s3.url,
    region: LOCAL_S3.region,
    credentials: { ...LOCAL_S3.credentials, secretAccessKey: 'another secret' },
  });
  await expect(client.send(new GetObjectCommand({ Bucket: s3.bucket, Key: 'x' }))).rejects.toMatchObject({
    name: 'SignatureDoesNotMatch',
  });
  client.destroy();
});
