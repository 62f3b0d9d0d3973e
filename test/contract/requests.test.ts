import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type * as z from 'zod';
import { apiOf } from '../../shared/contract/api.ts';
import { createBatchBody, ListBatchesQuery } from '../../shared/contract/batchRequests.ts';
import { checked } from '../../shared/contract/errorView.ts';
import { CreateKeyBody } from '../../shared/contract/keys.ts';
import { SettingsSchema } from '../../shared/contract/settings.ts';
import { completionWindowMs } from '../../shared/domain/completionWindow.ts';

const body = {
  name: 'Product descriptions',
  type: 'COMPLETIONS',
  input_file_url: 'https://example.com/in.jsonl',
  callback_url: 'https://example.com/hook',
};
const Deployed = createBatchBody({ allowPrivateNetworks: false });
const Local = createBatchBody({ allowPrivateNetworks: true });

function details(schema: z.ZodType, value: unknown) {
  return checked(schema, value, 'body').details;
}

/** The params that are named as wrong, each once. */
function wrong(schema: z.ZodType, value: unknown): string[] {
  return [...new Set(details(schema, value).map((detail) => detail.param))];
}

describe('the body of POST /batches', () => {
  it('needs four fields and fills in the rest', () => {
    expect(Deployed.parse(body)).toEqual({
      ...body,
      description: null,
      completion_window: '24h',
      metadata: {},
      on_invalid_line: 'fail',
    });
  });

  it('names every missing, wrong and unknown field at once', () => {
    const bad = { name: 7, type: 'COMPLETION', callback_url: 'ftp://x', dry_run: true, metadata: { a: 1 } };
    expect(details(Deployed, bad)).toEqual([
      { param: 'name', message: 'must be a string' },
      { param: 'type', message: 'must be "COMPLETIONS" or "EMBEDDINGS"' },
      { param: 'input_file_url', message: 'is required' },
      { param: 'callback_url', message: 'must be https://…' },
      { param: 'metadata.a', message: 'must be a string' },
      { param: 'dry_run', message: 'is not known here' },
    ]);
  });

  it.each([null, [], 'text', 1, true])('is an object, not %j', (value) => {
    expect(details(Deployed, value)).toEqual([{ param: 'body', message: 'must be an object' }]);
  });

  it('is told what would be right of each field, once', () => {
    expect(details(Deployed, { ...body, metadata: 'team', description: [], on_invalid_line: true })).toEqual([
      { param: 'description', message: 'must be a string' },
      { param: 'metadata', message: 'must be an object' },
      { param: 'on_invalid_line', message: 'must be "fail" or "skip"' },
    ]);
  });

  it('counts characters, not UTF-16 units', () => {
    expect(wrong(Deployed, { ...body, name: '💡'.repeat(256) })).toEqual([]);
    expect(wrong(Deployed, { ...body, name: '💡'.repeat(257) })).toEqual(['name']);
    expect(wrong(Deployed, { ...body, name: '' })).toEqual(['name']);
    expect(wrong(Deployed, { ...body, name: '\ud800' })).toEqual(['name']);
    expect(wrong(Deployed, { ...body, description: 'ü'.repeat(4096) })).toEqual([]);
    expect(wrong(Deployed, { ...body, description: 'ü'.repeat(4097) })).toEqual(['description']);
    expect(wrong(Deployed, { ...body, description: null })).toEqual([]);
  });

  it.each(['https://example.com/a?b=c', 's3://my-bucket/a/b c.jsonl', 'file://file_01J9ZQ3V6B8R4M2N7K5T1W0XYZ'])(
    'takes the input %s',
    (input_file_url) => {
      expect(wrong(Deployed, { ...body, input_file_url })).toEqual([]);
    },
  );

  it.each([
    'http://example.com/a',
    'https://',
    'https:example.com',
    'https://user:password@example.com/',
    's3://bucket',
    's3://b/',
    's3://BUCKET/key',
    'file:///etc/passwd',
    'file://file_1',
    'ftp://example.com/a',
    'data:,x',
    '',
    'in.jsonl',
    `https://example.com/${'a'.repeat(9000)}`,
  ])('refuses the input %.40s', (input_file_url) => {
    expect(wrong(Deployed, { ...body, input_file_url })).toEqual(['input_file_url']);
  });

  it('takes plain http only where private networks are allowed', () => {
    const plain = { ...body, input_file_url: 'http://127.0.0.1:1/in', callback_url: 'http://localhost:2/hook' };
    expect(wrong(Local, plain)).toEqual([]);
    expect(wrong(Deployed, plain)).toEqual(['input_file_url', 'callback_url']);
    expect(wrong(Local, { ...body, callback_url: 's3://bucket/key' })).toEqual(['callback_url']);
  });

  it.each([
    '127.0.0.1',
    '0x7f.1',
    '2130706433',
    '10.1.2.3',
    '169.254.169.254',
    '[::1]',
    '[::ffff:10.0.0.1]',
    '[fd00::1]',
    'localhost',
    'a.localhost',
    'LOCALHOST.',
  ])('refuses the host %s where private networks are not allowed', (host) => {
    const urls = { input_file_url: `https://${host}/in.jsonl`, callback_url: `https://${host}:8443/hook` };
    const message = `must not name the host ${new URL(urls.callback_url).hostname}: it is not at a public address`;
    expect(details(Deployed, { ...body, ...urls })).toEqual([
      { param: 'input_file_url', message },
      { param: 'callback_url', message },
    ]);
    expect(details(Local, { ...body, ...urls })).toEqual([]);
  });

  it.each(['93.184.216.34', '[2606:2800:220:1:248:1893:25c8:1946]', 'localhost.example.com', 'intranet'])(
    'takes the host %s, as far as can be seen without resolving it',
    (host) => {
      expect(wrong(Deployed, { ...body, callback_url: `https://${host}/hook` })).toEqual([]);
    },
  );

  it('takes 16 pairs of metadata with keys to 64 and values to 512 characters', () => {
    const pairs = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`key-${i}`, 'v']));
    expect(wrong(Deployed, { ...body, metadata: pairs(16) })).toEqual([]);
    expect(wrong(Deployed, { ...body, metadata: pairs(17) })).toEqual(['metadata']);
    expect(wrong(Deployed, { ...body, metadata: { ['k'.repeat(64)]: 'v'.repeat(512) } })).toEqual([]);
    expect(wrong(Deployed, { ...body, metadata: { ['k'.repeat(65)]: 'v' } })).toEqual([`metadata.${'k'.repeat(65)}`]);
    expect(wrong(Deployed, { ...body, metadata: { k: 'v'.repeat(513) } })).toEqual(['metadata.k']);
    expect(wrong(Deployed, { ...body, metadata: [] })).toEqual(['metadata']);
    expect(details(Deployed, { ...body, metadata: { '': 'v' } })).toEqual([
      { param: 'metadata', message: 'must have no empty key: a key has 1 to 64 characters' },
    ]);
  });

  it.each(['constructor', 'prototype', 'toString', 'hasOwnProperty'])(
    'takes the metadata key %s as any other',
    (key) => {
      expect(Deployed.parse({ ...body, metadata: { [key]: 'v' } }).metadata).toEqual({ [key]: 'v' });
    },
  );
});

describe('a completion window', () => {
  it.each([
    ['1m', 60_000],
    ['90m', 5_400_000],
    ['24h', 86_400_000],
    ['168h', 604_800_000],
    ['7d', 604_800_000],
  ])('of %s is %d ms', (window, ms) => {
    expect(completionWindowMs(window)).toBe(ms);
  });

  it.each(['0m', '8d', '169h', '10081m', '1.5h', '-1h', '01h', '1w', '1', 'h', '', ' 1h', '1h ', '1H', '99999999999m'])(
    'is never "%s"',
    (window) => {
      expect(wrong(Deployed, { ...body, completion_window: window })).toEqual(['completion_window']);
    },
  );

  it('is between a minute and seven days, whatever is sent', () => {
    fc.assert(
      fc.property(fc.nat(200_000), fc.constantFrom('m', 'h', 'd'), (n, unit) => {
        const ms = completionWindowMs(`${n}${unit}`);
        const exact = n * { m: 60_000, h: 3_600_000, d: 86_400_000 }[unit];
        expect(ms).toBe(exact >= 60_000 && exact <= 7 * 86_400_000 ? exact : undefined);
      }),
    );
  });
});

describe('the query of GET /batches', () => {
  it('answers the newest 100 unless told', () => {
    expect(ListBatchesQuery.parse({})).toEqual({ take: 100, order: 'desc' });
    expect(ListBatchesQuery.parse({ skip: '10000', take: '1', order: 'asc', status: 'in_progress' })).toEqual({
      skip: 10_000,
      take: 1,
      order: 'asc',
      status: 'in_progress',
    });
  });

  it.each([
    ['take', '0'],
    ['take', '101'],
    ['take', ''],
    ['take', '1e1'],
    ['take', '0x10'],
    ['take', ' 5'],
    ['take', '9'.repeat(30)],
    ['skip', '-1'],
    ['skip', '1.5'],
    ['skip', '10001'],
    ['order', 'up'],
    ['order', 'DESC'],
    ['status', 'done'],
    ['after', 'batch_1'],
    ['page', '2'],
  ])('refuses %s=%s', (name, value) => {
    expect(wrong(ListBatchesQuery, { [name]: value })).toEqual([name]);
  });

  it('takes skip or after, not both', () => {
    const after = 'batch_01J9ZQ3V6B8R4M2N7K5T1W0XYZ';
    expect(wrong(ListBatchesQuery, { after })).toEqual([]);
    expect(wrong(ListBatchesQuery, { after, skip: '0' })).toEqual(['after']);
  });
});

describe('the bodies of keys and uploads', () => {
  it('takes a project, a role and a name for a key', () => {
    const key = { project_id: 'acme', role: 'admin', name: 'CI' };
    expect(CreateKeyBody.parse(key)).toEqual({ ...key, expires_at: null });
    expect(wrong(CreateKeyBody, { ...key, project_id: 'a/b', role: 'root', expires_at: 'tomorrow' })).toEqual([
      'project_id',
      'role',
      'expires_at',
    ]);
  });

  it('takes an upload up to the input limit, and a media type', () => {
    const schema = apiOf(SettingsSchema.parse({ limits: { inputBytes: 1000 } })).createUpload.body;
    expect(schema.parse({ bytes: 1000 })).toEqual({ bytes: 1000 });
    for (const bytes of [0, -1, 1.5, 1001, '10', null, true, 2 ** 53, Number.POSITIVE_INFINITY])
      expect(details(schema, { bytes })).toEqual([
        { param: 'bytes', message: 'must be a whole number from 1 to 1000' },
      ]);
    expect(wrong(schema, { bytes: 1, content_type: 'text/plain\r\nx: y' })).toEqual(['content_type']);
    expect(wrong(schema, { bytes: 1, content_type: 'application/x-ndjson; charset=utf-8' })).toEqual([]);
  });
});
