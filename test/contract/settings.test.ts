import { describe, expect, it } from 'vitest';
import { SettingsSchema } from '../../shared/contract/settings.ts';

describe('the settings of the check', () => {
  it('leave 5 of the 20 s in which its route answers to the looks that have begun', () => {
    expect(SettingsSchema.parse({}).check.budgetSeconds).toBe(15);
    expect(SettingsSchema.safeParse({ check: { budgetSeconds: 16 } }).success).toBe(false);
  });
});

describe('the buckets that input may come from', () => {
  const takes = (name: string) => SettingsSchema.safeParse({ inputBuckets: [name] }).success;

  it.each(['acme-exports', 'acme.exports.2026', 'abc'])('may be %s', (name) => expect(takes(name)).toBe(true));

  // The names stand in the function's rights, where a wildcard would open every bucket of the account.
  it.each(['*', 'acme-*', 'acme?', 'arn:aws:s3:::acme', 's3://acme', 'acme/exports', 'Acme', 'ab', ''])(
    'may not be %j',
    (name) => expect(takes(name)).toBe(false),
  );
});
