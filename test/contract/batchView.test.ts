import { describe, expect, it } from 'vitest';
import {
  BatchListView,
  BatchView,
  BatchWithErrorsView,
  batchView,
  batchWithErrorsView,
} from '../../shared/contract/batchView.ts';
import { batchDetail, batchHead, NOON } from '../support/batchRecords.ts';

const DAY = 86_400_000;

describe('the batch object', () => {
  it('has exactly the fields of the contract when it is new', () => {
    const view = batchWithErrorsView(batchHead(), batchDetail(), NOON);
    expect(BatchWithErrorsView.parse(view)).toEqual(view);
    expect(view).toEqual({
      id: 'batch_01J9ZQ3V6B8R4M2N7K5T1W0XYZ',
      name: 'Product descriptions',
      description: null,
      status: 'validating',
      type: 'COMPLETIONS',
      callback_url: 'https://example.com/hook',
      delivered_at: null,
      input_file_url: 'https://example.com/input.jsonl',
      has_output_file: false,
      has_errors_file: false,
      project_id: 'acme',
      created_at: '2026-01-15T10:30:00.000Z',
      updated_at: '2026-01-15T10:30:00.000Z',
      errors: [],
      request_counts: { total: 0, completed: 0, failed: 0 },
      usage: null,
      completion_window: '24h',
      expires_at: '2026-01-16T10:30:00.000Z',
      in_progress_at: null,
      finalizing_at: null,
      completed_at: null,
      failed_at: null,
      expired_at: null,
      cancelling_at: null,
      cancelled_at: null,
      files_expire_at: null,
      delivery: null,
      metadata: {},
      retry_of: null,
    });
  });

  it('never counts more lines than there are, though live counts may have counted some twice', () => {
    const head = batchHead({ status: 'in_progress', requestCounts: { total: 296, completed: 253, failed: 61 } });
    expect(batchView(head, batchDetail(), NOON).request_counts).toEqual({ total: 296, completed: 235, failed: 61 });
  });

  it('shows what an ended batch has', () => {
    const head = batchHead({
      status: 'completed',
      enteredAt: { validating: NOON, in_progress: NOON + 1000, finalizing: NOON + 2000, completed: NOON + 3000 },
      requestCounts: { total: 3, completed: 2, failed: 1 },
      usage: { inputTokens: 10, outputTokens: 20 },
      outputFile: { key: 'outputs/acme/b/1-output.jsonl', bytes: 10 },
      filesExpireAt: NOON + 30 * DAY,
      delivery: { attempts: 1, lastStatus: 503, nextAttemptAt: NOON + 9000 },
    });
    const detail = batchDetail({
      description: 'Spring range',
      metadata: { team: 'web' },
      errors: [{ code: 'model_error', line: 2, message: 'no', param: null }],
    });
    expect(batchWithErrorsView(head, detail, NOON + DAY)).toMatchObject({
      in_progress_at: '2026-01-15T10:30:01.000Z',
      completed_at: '2026-01-15T10:30:03.000Z',
      has_output_file: true,
      has_errors_file: false,
      usage: { input_tokens: 10, output_tokens: 20, total_tokens: 30 },
      delivery: {
        attempts: 1,
        last_status: 503,
        last_error: null,
        next_attempt_at: '2026-01-15T10:30:09.000Z',
        gave_up_at: null,
      },
      description: 'Spring range',
      metadata: { team: 'web' },
      errors: [{ code: 'model_error', line: 2, message: 'no', param: null }],
    });
  });

  it('has files only once it has ended and only until they expire', () => {
    const files = { outputFile: { key: 'k', bytes: 1 }, filesExpireAt: NOON + DAY };
    const hasOutput = (now: number, status: 'completed' | 'finalizing') =>
      batchView(batchHead({ ...files, status }), undefined, now).has_output_file;
    expect(hasOutput(NOON, 'finalizing')).toBe(false);
    expect(hasOutput(NOON + DAY - 1, 'completed')).toBe(true);
    expect(hasOutput(NOON + DAY, 'completed')).toBe(false);
  });

  it('lets nothing of the records through that the contract does not name', () => {
    const leaky = { ...batchView(batchHead(), batchDetail(), NOON), attempt: 1, input: { key: 'inputs/…' } };
    expect(Object.keys(BatchView.parse(leaky))).not.toContain('attempt');
    const list = BatchListView.parse({ batches: [{ ...leaky, errors: [] }], has_more: false });
    expect(list.batches[0]).not.toHaveProperty('errors');
  });
});
