import fc from 'fast-check';
import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import {
  newWebhookSecret,
  rotatedSecret,
  signatureHeaders,
  signingSecrets,
} from '../../../shared/domain/notifications/signature.ts';

const secretBytes = fc.uint8Array({ minLength: 24, maxLength: 64 });

describe('the signature of a notification', () => {
  test('is one that the standardwebhooks package verifies, whatever the secret and the body', () => {
    fc.assert(
      fc.property(secretBytes, fc.jsonValue(), fc.uuid(), (bytes, value, id) => {
        const { secret } = newWebhookSecret(bytes, 0);
        const body = JSON.stringify(value);
        const headers = signatureHeaders({ id, timestampSeconds: Math.floor(Date.now() / 1000), body }, [secret]);
        new Webhook(secret).verify(body, headers, { jsonParse: false });
      }),
    );
  });

  test('does not hold for another body, id or secret', () => {
    const { secret } = newWebhookSecret(new Uint8Array(32).fill(1), 0);
    const other = newWebhookSecret(new Uint8Array(32).fill(2), 0).secret;
    const headers = signatureHeaders({ id: 'msg_1', timestampSeconds: Math.floor(Date.now() / 1000), body: '{}' }, [
      secret,
    ]);
    expect(() => new Webhook(secret).verify('{ }', headers)).toThrow();
    expect(() => new Webhook(secret).verify('{}', { ...headers, 'webhook-id': 'msg_2' })).toThrow();
    expect(() => new Webhook(other).verify('{}', headers)).toThrow();
  });

  test('is made with both secrets after a rotation, as long as the old one is valid', () => {
    const previous = newWebhookSecret(new Uint8Array(32).fill(1), 0);
    const next = newWebhookSecret(new Uint8Array(32).fill(2), 1_000);
    const rotated = rotatedSecret(previous, next, 1_000);
    const overAt = 1_000 + 24 * 3_600_000;
    const message = { id: 'msg_1', timestampSeconds: Math.floor(Date.now() / 1000), body: '{}' };
    const during = signatureHeaders(message, signingSecrets(rotated, overAt - 1));
    for (const { secret } of [previous, rotated]) new Webhook(secret).verify('{}', during);
    const after = signatureHeaders(message, signingSecrets(rotated, overAt));
    new Webhook(rotated.secret).verify('{}', after);
    expect(() => new Webhook(previous.secret).verify('{}', after)).toThrow();
  });
});
