import { describe, expect, it } from 'vitest';
import { answerBytes, MAX_ANSWER_BYTES } from '../../shared/contract/answerSize.ts';
import { batchListView } from '../../shared/contract/batchListView.ts';
import { BatchListView } from '../../shared/contract/batchView.ts';
import { batchDetail, batchHead, NOON } from '../support/batchRecords.ts';

/** As large as a request can make it: what costs most bytes is a control character, escaped twice. */
function largest(n: number) {
  const batchId = `batch_${String(n).padStart(26, '0')}`;
  const url = `https://example.com/${"'".repeat(8000)}`;
  const head = batchHead({ batchId, name: '\u0001'.repeat(256), callbackUrl: url, inputFileUrl: url });
  const keys = Array.from({ length: 16 }, (_, i) => String.fromCharCode(i + 1).repeat(64));
  const metadata = Object.fromEntries(keys.map((key) => [key, '\u0001'.repeat(512)]));
  return { head, detail: batchDetail({ batchId, description: '\u0001'.repeat(4096), metadata }) };
}
const page = (count: number) => Array.from({ length: count }, (_, n) => largest(n));

describe('a page of batches', () => {
  it('holds all that were read, and says whether there are more', () => {
    const listed = [{ head: batchHead(), detail: batchDetail() }];
    expect(batchListView(listed, true, NOON)).toMatchObject({
      batches: [{ id: listed[0]?.head.batchId }],
      has_more: true,
    });
    expect(batchListView(listed, false, NOON)).toMatchObject({ batches: [{}], has_more: false });
    expect(batchListView([], false, NOON)).toEqual({ batches: [], has_more: false });
  });

  it('ends where the answer would be too large, and says that there are more', () => {
    const view = batchListView(page(100), false, NOON);
    expect(BatchListView.parse(view)).toEqual(view);
    expect(view.has_more).toBe(true);
    const bytes = answerBytes(JSON.stringify(view));
    expect(bytes).toBeLessThanOrEqual(MAX_ANSWER_BYTES);
    const one = bytes / view.batches.length;
    expect(bytes + one).toBeGreaterThan(MAX_ANSWER_BYTES);
    expect(view.batches.map(({ id }) => id)).toEqual(page(view.batches.length).map(({ head }) => head.batchId));
  });

  it('holds all 62 batches of plain long texts', () => {
    const listed = page(62).map(({ head, detail }) => ({
      head: { ...head, name: 'x'.repeat(256) },
      detail: { ...detail, description: 'ü'.repeat(4096), metadata: {} },
    }));
    expect(batchListView(listed, false, NOON)).toMatchObject({ has_more: false, batches: { length: 62 } });
  });
});
