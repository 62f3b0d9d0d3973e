import { describe, expect, test } from 'vitest';
import { deletedFrom, EXPIRY_DAYS, GATHERING_MS, KEEP_DAYS } from '../../shared/contract/retention.ts';
import { SettingsSchema } from '../../shared/contract/settings.ts';
import { completionWindowMs } from '../../shared/domain/completionWindow.ts';
import { objectKeys } from '../../shared/domain/objectKeys.ts';

const DAY = 86_400_000;
const WINDOW = completionWindowMs('7d') ?? 0;
const ref = { projectId: 'p', batchId: 'b' };
const { keepDays, uploadDays } = SettingsSchema.parse({}).files;

describe('how long files stay', () => {
  test('is known by the kind that a key starts with', () => {
    expect(deletedFrom(objectKeys.input(ref, 1), 5)).toBe(5 + EXPIRY_DAYS.inputs * DAY);
    expect(deletedFrom(objectKeys.lineIndex(ref, 1), 5)).toBe(5 + EXPIRY_DAYS.outputs * DAY);
    expect(() => deletedFrom('elsewhere/b', 5)).toThrow('elsewhere/b');
  });

  test('is long enough for a retry with the longest window on the last day, by the longest batch of an old upload', () => {
    expect(keepDays).toBe(KEEP_DAYS);
    const retry = WINDOW + GATHERING_MS;
    const uploaded = 0;
    const created = uploaded + uploadDays * DAY;
    const ended = created + WINDOW + GATHERING_MS;
    const through = ended + keepDays * DAY + retry;
    expect(deletedFrom(objectKeys.upload('p', 'f'), uploaded)).toBeGreaterThanOrEqual(through);
    expect(deletedFrom(objectKeys.input(ref, 1), created)).toBeGreaterThanOrEqual(through);
    expect(deletedFrom(objectKeys.output(ref, 1), ended - GATHERING_MS)).toBeGreaterThanOrEqual(through);
  });
});
