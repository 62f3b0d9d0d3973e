import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LINE_ERROR_CODES } from '../../../shared/domain/errors.ts';
import {
  causeOfStatus,
  FAILURE_CAUSES,
  type FailureCause,
  failureMessage,
} from '../../../shared/domain/retry/failureCauses.ts';

const ALL = Object.keys(FAILURE_CAUSES) as FailureCause[];

describe('the table of failure causes', () => {
  it.each([
    [301, 'redirected', 'model_error', false],
    [400, 'bad_request', 'model_error', false],
    [401, 'unauthorized', 'model_unauthorized', false],
    [403, 'forbidden', 'model_unauthorized', false],
    [404, 'bad_request', 'model_error', false],
    [408, 'request_timeout', 'model_timeout', true],
    [409, 'try_again', 'model_unavailable', true],
    [422, 'bad_request', 'model_error', false],
    [425, 'try_again', 'model_unavailable', true],
    [429, 'rate_limited', 'rate_limited', true],
    [500, 'server_error', 'model_unavailable', true],
    [503, 'overloaded', 'model_unavailable', true],
    [529, 'overloaded', 'model_unavailable', true],
  ] as const)('HTTP %i is %s', (status, cause, lineErrorCode, retryable) => {
    expect(causeOfStatus(status)).toBe(cause);
    expect(FAILURE_CAUSES[cause]).toMatchObject({ lineErrorCode, retryable });
  });

  it.each([
    [{ error: { code: 'model_not_found', message: 'no' } }],
    [{ object: 'error', message: 'The model `x` does not exist.', code: 404 }],
    [{ error: { message: "model 'llama9' not found, try pulling it first" } }],
    [{ error: "model 'llama9' not found" }],
  ])('a 404 that names the model is a missing model: %j', (body) => {
    expect(causeOfStatus(404, body)).toBe('model_missing');
    expect(FAILURE_CAUSES.model_missing.lineErrorCode).toBe('model_not_found');
  });

  it.each([[undefined], ['Not Found'], [{ detail: 'Not Found' }], [[]], [null], [{ error: null }]])(
    'a 404 of a wrong path is none: %j',
    (body) => {
      expect(causeOfStatus(404, body)).toBe('bad_request');
    },
  );

  it('every status outside 2xx has a cause, every cause a code of the contract and a message', () => {
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 999 }), (status) => {
        expect(causeOfStatus(status) === undefined).toBe(status >= 200 && status < 300);
      }),
    );
    for (const cause of ALL) {
      expect(LINE_ERROR_CODES).toContain(FAILURE_CAUSES[cause].lineErrorCode);
      expect(failureMessage(cause, { status: 418 })).toMatch(/^The model.*\.$/);
    }
  });

  it('a model may be down where its server fails, is overloaded, silent or not there; never where it looked at the call', () => {
    const telling = (what: 'up' | 'down' | 'unknown') => ALL.filter((cause) => FAILURE_CAUSES[cause].model === what);
    expect(telling('down')).toEqual(['overloaded', 'server_error', 'request_timeout', 'network', 'timeout']);
    expect(telling('unknown')).toEqual(['invalid_response']);
  });

  it('only a refusal for rate leaves the attempts alone', () => {
    expect(ALL.filter((cause) => !FAILURE_CAUSES[cause].countsAsAttempt)).toEqual(['rate_limited']);
  });
});
