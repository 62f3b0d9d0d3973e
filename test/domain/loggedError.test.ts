import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { errors } from 'undici';
import { describe, expect, test } from 'vitest';
import * as z from 'zod';
import { InputRejected } from '../../shared/domain/errors.ts';
import { loggedError, OWN_MESSAGES, withoutContent } from '../../shared/domain/loggedError.ts';
import { FileMissing } from '../../shared/ports.ts';

const SECRET = 'Say canary';
const thrownBy = (run: () => unknown): unknown => {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error('It threw nothing');
};

describe('of an error is logged', () => {
  test('the whole message where this code put it together', () => {
    expect(loggedError(new Error('Batch batch_1 has no plan'))).toMatchObject({ message: 'Batch batch_1 has no plan' });
    expect(loggedError(new FileMissing('There is no file parts/a'))).toMatchObject({
      name: 'FileMissing',
      message: 'There is no file parts/a',
    });
  });

  test('the message, status and request id of an AWS service', () => {
    const error = new ConditionalCheckFailedException({
      message: 'The conditional request failed',
      $metadata: { httpStatusCode: 400, requestId: 'ABC-1' },
    });
    expect(loggedError(error)).toMatchObject({
      name: 'ConditionalCheckFailedException',
      message: 'The conditional request failed',
      status: 400,
      aws_request_id: 'ABC-1',
    });
  });

  test('where it was thrown, and by what', () => {
    const logged = loggedError(new Error('outer', { cause: new TypeError(SECRET) }));
    expect(logged.at?.[0]).toMatch(/loggedError\.test\.ts:\d+:\d+\)?$/);
    expect(logged.cause).toMatchObject({ name: 'TypeError' });
  });

  test('at most 500 characters of a message, 8 places and 3 causes', () => {
    let error = new Error('x'.repeat(10_000));
    for (let depth = 0; depth < 10; depth++) error = new Error('again', { cause: error });
    expect(JSON.stringify(loggedError(error)).match(/"cause"/g)).toHaveLength(3);
    expect(loggedError(new Error('x'.repeat(10_000))).message).toHaveLength(500);
  });

  test.each<[string, unknown]>([
    ['JSON.parse, which quotes', thrownBy(() => JSON.parse(`{"input": ${SECRET}`))],
    ['new URL', thrownBy(() => new URL(`no url ${SECRET}`))],
    ['Node, which names values', thrownBy(() => Buffer.from('x', SECRET as BufferEncoding))],
    ['BigInt', thrownBy(() => BigInt(SECRET))],
    ['zod', thrownBy(() => z.strictObject({}).parse({ [SECRET]: 1 }))],
    ['undici', new errors.ResponseError(SECRET, 400, { headers: { 'x-answer': SECRET }, body: SECRET })],
    [
      'a connection',
      Object.assign(new Error(`getaddrinfo ENOTFOUND ${SECRET}`), { code: 'ENOTFOUND', hostname: SECRET }),
    ],
    ['what clients are told', new InputRejected('input_file_unreachable', SECRET)],
    ['a class of somebody else', Object.assign(new Error(SECRET), { name: 'APIError', response: { body: SECRET } })],
    ['a name that is none', Object.assign(new Error('x'), { name: SECRET, code: SECRET })],
    ['causes', new Error('fine', { cause: Object.assign(new TypeError(SECRET), { cause: new SyntaxError(SECRET) }) })],
    ['a message that plays stack', new RangeError(`x\n    at ${SECRET} (file:///x.ts:1:1)\n    at canary (node:1:1)`)],
    ['a stack that was written', Object.assign(new TypeError(''), { stack: `${SECRET}\n    at ${SECRET}` })],
    ['what is no error', SECRET],
  ])('nothing but names of %s', (_, error) => {
    expect(inspect(error, { showHidden: true, depth: 9 })).toContain('canary');
    expect(JSON.stringify(loggedError(error))).not.toContain('canary');
    expect(inspect(withoutContent(error), { showHidden: true, depth: 9 })).not.toContain('canary');
  });
});

test('every class of error of this code is one whose message may be logged, or one that is not', () => {
  const sources = readdirSync(join(import.meta.dirname, '../../shared'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => readFileSync(join(import.meta.dirname, '../../shared', path), 'utf8'))
    .join('\n');
  const names = [...sources.matchAll(/override readonly name = '(\w+)'/g)].map(([, name]) => name ?? '');
  const forClients = ['ApiError', 'BrokenOff', 'InputRejected', 'TargetRefused'];
  const caughtWhereTheyAreThrown = ['EndedMeanwhile', 'Interrupted', 'Overtaken', 'TimeoutError'];
  expect([...new Set(names)].toSorted()).toEqual(
    [...OWN_MESSAGES, ...forClients, ...caughtWhereTheyAreThrown].toSorted(),
  );
});
