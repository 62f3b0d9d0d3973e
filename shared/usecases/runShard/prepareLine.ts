import { type LineCall, toModelCall, toWrittenCall } from '../../domain/lineMapping.ts';
import { bodyAsWritten } from '../../domain/lines/jsonText.ts';
import { describeProblems } from '../../domain/lines/lineProblem.ts';
import type { PhysicalLine } from '../../domain/lines/lineReader.ts';
import {
  type AskedLine,
  type CheckedLine,
  checkLine,
  type LineContext,
  type RequestLine,
} from '../../domain/lines/requestLine.ts';
import { errorLine, type FailedLine, outputTexts } from '../../domain/lines/resultLine.ts';
import { readWrittenCall } from '../../domain/lines/writtenCall.ts';
import type { ModelsFile } from '../../domain/models.ts';
import { FAILURE_CAUSES } from '../../domain/retry/failureCauses.ts';
import { idempotencyKeyOf, type LineFailure } from './callLine.ts';
import type { HeldLine } from './heldLines.ts';

/** Of one that is parsed: text, value, the text that is sent and its bytes are there at once. */
const COPIES_OF_A_LINE = 4;

/** A line that is finished. `json`: of the output or errors file, in texts that follow each other. */
export type LineResult = {
  line: number;
  file: 'o' | 'e';
  json: readonly string[];
  /** What a failed line ended with: for the batch's record. */
  error?: { code: string; message: string };
};

export type PreparedLine = { kind: 'result'; result: LineResult } | { kind: 'call'; line: HeldLine };

/** A line as it was read → a call to make, or its result where none is needed or none can help. */
export function prepareLine(
  physical: PhysicalLine,
  context: LineContext & { batchId: string; firstLine: number },
  known: { attempts: number; answerBytes(call: HeldLine['call']): number },
): PreparedLine {
  const { batchId, firstLine, models } = context;
  const { line } = physical;
  const { attempts } = known;
  const failed = (customId: string | null, error: FailedLine['error']): PreparedLine => ({
    kind: 'result',
    result: failedResult(batchId, { line, customId, error, attempts }),
  });

  const asked = askByText(physical, models) ?? askByChecks(physical, context);
  if ('problems' in asked) {
    // Validate found it good: the models of this deployment have changed since.
    const code = asked.problems[0]?.code ?? 'invalid_line';
    return failed(asked.customId, { code, message: describeProblems(asked.problems) });
  }
  const { request, call } = asked;
  switch (call.kind) {
    case 'answered':
      return { kind: 'result', result: answeredResult(batchId, line, request.customId, call.statusCode, call.body) };
    case 'model_not_found':
      return failed(request.customId, { code: 'model_not_found', message: call.message });
    case 'call': {
      const idempotencyKey = idempotencyKeyOf(batchId, line);
      const weight = (physical.end - physical.start) * COPIES_OF_A_LINE + known.answerBytes(call);
      const index = line - firstLine;
      const held = { line, index, request, call, idempotencyKey, weight, attempts, tries: attempts, readyAt: 0 };
      return { kind: 'call', line: held };
    }
  }
}

/** What a line asks for, and the call that answers it. */
type Asked = { request: AskedLine; call: LineCall };

function askByText({ latin1, content }: PhysicalLine, models: ModelsFile): Asked | undefined {
  const written = latin1 === undefined || content === 'too_long' ? undefined : readWrittenCall(content, latin1);
  if (written === undefined || content === 'too_long') return undefined;
  const { customId, endpoint } = written;
  return { request: { kind: 'openai', customId, endpoint }, call: toWrittenCall(content, written, models) };
}

function askByChecks(physical: PhysicalLine, context: LineContext): Asked | Extract<CheckedLine, { ok: false }> {
  const checked = checkLine(physical, context);
  if (!checked.ok) return checked;
  const request = withBodyText(checked.request, physical);
  const call = toModelCall(request, context.models);
  // A body's text is cut from that of a whole block, which it keeps in memory: only vectors need it once more.
  return { request: request.kind === 'vectors' ? request : checked.request, call };
}

/** What goes on as the client wrote it: the body to a model, and vectors into their answer. */
function withBodyText(request: RequestLine, physical: PhysicalLine): RequestLine {
  if (request.kind === 'agent') return request;
  const text = physical.ascii ?? (physical.content === 'too_long' ? '' : physical.content.toString('utf8'));
  const bodyText = bodyAsWritten(text);
  return bodyText === undefined ? request : { ...request, bodyText };
}

/** The line that each worker in a row died of, as far as can be told: it is not run again. */
export function givenUpResult(
  physical: PhysicalLine,
  context: LineContext & { batchId: string },
  attempts: number,
): LineResult {
  const checked = checkLine(physical, context);
  const customId = checked.ok ? checked.request.customId : checked.customId;
  const error = { code: 'processing_failed', message: 'Each worker that ran this line died of it.' } as const;
  return failedResult(context.batchId, { line: physical.line, customId, error, attempts });
}

export function answeredResult(
  batchId: string,
  line: number,
  customId: string,
  statusCode: number,
  body: string,
): LineResult {
  return { line, file: 'o', json: outputTexts(batchId, { line, customId }, statusCode, body) };
}

export function failedCallResult(batchId: string, line: HeldLine, failure: LineFailure): LineResult {
  return failedResult(batchId, {
    line: line.line,
    customId: line.request.customId,
    error: { code: FAILURE_CAUSES[failure.cause].lineErrorCode, message: failure.message },
    attempts: line.attempts,
    ...(failure.response ? { response: failure.response } : {}),
  });
}

function failedResult(batchId: string, failed: FailedLine): LineResult {
  return { line: failed.line, file: 'e', json: [errorLine(batchId, failed)], error: failed.error };
}
