import type { BatchView, BatchWithErrorsView } from '../shared/contract/batchView.ts';
import { isEnded } from '../shared/domain/batchStatus.ts';
import { count, fieldsText, localTime, tableText } from './terminal.ts';

/** What people read of batches; scripts read JSON. */

const ERRORS_SHOWN = 10;
const METADATA_SHOWN = 16;

export function linesText({ request_counts: { total, completed, failed } }: Pick<BatchView, 'request_counts'>): string {
  return total === 0 ? '–' : `${count(completed)} of ${count(total)} succeeded, ${count(failed)} failed`;
}

function endedAt(batch: BatchView): string | null {
  return batch.completed_at ?? batch.failed_at ?? batch.expired_at ?? batch.cancelled_at;
}

function notificationText({ status, delivered_at, delivery, callback_url }: BatchView): string {
  if (delivered_at !== null) return `delivered ${localTime(delivered_at)} to ${callback_url}`;
  if (delivery === null) return `${isEnded(status) ? 'on its way' : 'at the end'}, to ${callback_url}`;
  const last = delivery.last_status ?? delivery.last_error ?? 'none';
  const next = delivery.gave_up_at
    ? `given up ${localTime(delivery.gave_up_at)}`
    : `next try ${localTime(delivery.next_attempt_at)}`;
  return `not delivered: ${count(delivery.attempts)} tries, last answer ${last}, ${next}, to ${callback_url}`;
}

function filesText({ has_output_file, has_errors_file, files_expire_at }: BatchView): string {
  const names = [...(has_output_file ? ['output.jsonl'] : []), ...(has_errors_file ? ['errors.jsonl'] : [])];
  if (names.length === 0) return 'none';
  return `${names.join(', ')}${files_expire_at === null ? '' : `, until ${localTime(files_expire_at)}`}`;
}

/** A batch, and the first of its errors. */
export function batchText(batch: BatchWithErrorsView): string {
  const { usage, errors } = batch;
  const optional = (name: string, value: string | null) => (value === null ? [] : [[name, value] as const]);
  const ended = endedAt(batch);
  const fields = fieldsText([
    ['id', batch.id],
    ['name', batch.name],
    ...optional('description', batch.description),
    ['status', batch.status],
    ['type', batch.type],
    ['lines', linesText(batch)],
    ...optional('tokens', usage && `${count(usage.input_tokens)} in, ${count(usage.output_tokens)} out`),
    ...optional('retry of', batch.retry_of),
    ['input', batch.input_file_url],
    ['created', localTime(batch.created_at)],
    ...(ended === null
      ? [['ends by', `${localTime(batch.expires_at)} (${batch.completion_window})`] as const]
      : [['ended', localTime(ended)] as const]),
    ['files', filesText(batch)],
    ['notification', notificationText(batch)],
    ...Object.entries(batch.metadata)
      .slice(0, METADATA_SHOWN)
      .map(([key, value]) => [`metadata ${key}`, value] as const),
  ]);
  return errors.length === 0 ? fields : `${fields}\n\n${errorsText(errors)}`;
}

function errorsText(errors: BatchWithErrorsView['errors']): string {
  const table = tableText(
    [
      { head: 'LINE', text: ({ line }) => (line === null ? '–' : String(line)), align: 'right' },
      { head: 'ERROR', text: ({ code }) => code },
      { head: 'FIELD', text: ({ param }) => param ?? '–' },
      { head: 'MESSAGE', text: ({ message }) => message, maxCharacters: 100 },
    ],
    errors.slice(0, ERRORS_SHOWN),
  );
  const more = errors.length - ERRORS_SHOWN;
  return more > 0 ? `${table}\n… and ${more} more here (--json shows them), and all in errors.jsonl` : table;
}

export function batchListText(batches: readonly BatchView[]): string {
  return tableText(
    [
      { head: 'ID', text: ({ id }) => id },
      { head: 'NAME', text: ({ name }) => name, maxCharacters: 28 },
      { head: 'STATUS', text: ({ status }) => status },
      { head: 'TYPE', text: ({ type }) => type },
      { head: 'LINES', text: ({ request_counts }) => count(request_counts.total), align: 'right' },
      { head: 'SUCCEEDED', text: ({ request_counts }) => count(request_counts.completed), align: 'right' },
      { head: 'FAILED', text: ({ request_counts }) => count(request_counts.failed), align: 'right' },
      { head: 'CREATED', text: ({ created_at }) => localTime(created_at) },
    ],
    batches,
  );
}
