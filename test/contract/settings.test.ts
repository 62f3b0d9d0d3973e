import { describe, expect, it } from 'vitest';
import { SettingsSchema } from '../../shared/contract/settings.ts';

describe('the settings of the check', () => {
  it('leave 5 of the 20 s in which its route answers to the looks that have begun', () => {
    expect(SettingsSchema.parse({}).check.budgetSeconds).toBe(15);
    expect(SettingsSchema.safeParse({ check: { budgetSeconds: 16 } }).success).toBe(false);
  });
});
