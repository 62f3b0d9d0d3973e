import { expect, it } from 'vitest';
import { methodsAt } from '../../shared/contract/matchRoute.ts';

it.each([
  ['/batches', ['GET', 'POST']],
  ['/batches/check-batches', ['GET']],
  ['/batches/batch_1', ['GET']],
  ['/batches/batch_1/download', ['GET']],
  ['/keys/key_1', ['DELETE']],
  ['/openapi.json', ['GET']],
])('the path %s takes %j', (path, methods) => {
  expect(methodsAt(path)).toEqual(methods);
});

it.each([
  '',
  '/',
  '/batches/',
  '/batches/a/',
  '/batches/a/b',
  '/batches/a/download/',
  '/Batches',
  '//batches',
  '/openapixjson',
  '/batches/a/resume',
  '/v1/batches',
  '/toString',
])('the path "%s" is none of ours', (path) => {
  expect(methodsAt(path)).toEqual([]);
});
