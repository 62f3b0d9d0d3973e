import type { LineErrorCode, ValidationCode } from '../errors.ts';

/**
 * The lines of `output.jsonl` and `errors.jsonl` (CONTRACT "Output lines"), made once when a line's result is known
 * and copied as they are from then on.
 */

/** `<batch id>_<custom_id>`, or `<batch id>_line-<n>` where the line has no usable `custom_id`. */
function resultId(batchId: string, customId: string | null, line: number): string {
  return customId === null ? `${batchId}_line-${line}` : `${batchId}_${customId}`;
}

/**
 * In texts that follow each other, since to join them would copy the body. `body` is JSON text and goes in untouched, but
 * for raw newlines between tokens, which would break JSONL.
 */
export function outputTexts(
  batchId: string,
  line: { line: number; customId: string },
  statusCode: number,
  body: string,
): string[] {
  const id = JSON.stringify(resultId(batchId, line.customId, line.line));
  const head = `{"id":${id},"custom_id":${JSON.stringify(line.customId)},"response":{"status_code":${statusCode},"body":`;
  return [head, oneLine(body), '}}'];
}

export function outputLine(...line: Parameters<typeof outputTexts>): string {
  return outputTexts(...line).join('');
}

export type FailedLine = {
  line: number;
  customId: string | null;
  error: { code: LineErrorCode | ValidationCode; message: string };
  attempts: number;
  /** The model's last answer; `body` is JSON text. Absent where there was none. */
  response?: { statusCode: number; body: string };
};

export function errorLine(batchId: string, failed: FailedLine): string {
  const response = failed.response
    ? `{"status_code":${failed.response.statusCode},"body":${oneLine(failed.response.body)}}`
    : 'null';
  const id = JSON.stringify(resultId(batchId, failed.customId, failed.line));
  return `{"id":${id},"custom_id":${JSON.stringify(failed.customId)},"line":${failed.line},"response":${response},"error":${JSON.stringify(failed.error)},"attempts":${failed.attempts}}`;
}

/** A raw newline can stand only between JSON tokens, so a space in its place changes no value. */
function oneLine(json: string): string {
  return json.includes('\n') || json.includes('\r') ? json.replaceAll(/[\r\n]/g, ' ') : json;
}
