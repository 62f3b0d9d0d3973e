import { toModelCall } from '../../domain/lineMapping.ts';
import { bodyAsWritten } from '../../domain/lines/jsonText.ts';
import { describeProblems } from '../../domain/lines/lineProblem.ts';
import type { PhysicalLine } from '../../domain/lines/lineReader.ts';
import { checkLine, type LineContext, type RequestLine } from '../../domain/lines/requestLine.ts';
import { errorLine, type FailedLine, outputLine } from '../../domain/lines/resultLine.ts';
import { type SegmentEntry, segmentEntry } from '../../domain/lines/segment.ts';
import { FAILURE_CAUSES } from '../../domain/retry/failureCauses.ts';
import { idempotencyKeyOf, type LineFailure } from './callLine.ts';
import type { HeldLine } from './heldLines.ts';

/** Text, parsed value, the text that is sent and its bytes are there at once. */
const COPIES_OF_A_LINE = 4;

export type PreparedLine = { kind: 'result'; entry: SegmentEntry } | { kind: 'call'; line: HeldLine };

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
    entry: failedEntry(batchId, { line, customId, error, attempts }),
  });

  const checked = checkLine(physical, context);
  if (!checked.ok) {
    // Validate found it good: the models of this deployment have changed since.
    const code = checked.problems[0]?.code ?? 'invalid_line';
    return failed(checked.customId, { code, message: describeProblems(checked.problems) });
  }
  const request = withBodyText(checked.request, physical);
  const call = toModelCall(request, models);
  switch (call.kind) {
    case 'answered':
      return { kind: 'result', entry: answeredEntry(batchId, line, request.customId, call.statusCode, call.body) };
    case 'model_not_found':
      return failed(request.customId, { code: 'model_not_found', message: call.message });
    case 'call': {
      const idempotencyKey = idempotencyKeyOf(batchId, line);
      const weight = (physical.end - physical.start) * COPIES_OF_A_LINE + known.answerBytes(call);
      const index = line - firstLine;
      // A body's text is cut from that of a whole block, which it keeps in memory: only vectors need it once more.
      const kept = request.kind === 'vectors' ? request : checked.request;
      const held = { line, index, request: kept, call, idempotencyKey, weight, attempts, tries: attempts, readyAt: 0 };
      return { kind: 'call', line: held };
    }
  }
}

/** What goes on as the client wrote it: the body to a model, and vectors into their answer. */
function withBodyText(request: RequestLine, physical: PhysicalLine): RequestLine {
  if (request.kind === 'agent') return request;
  const text = physical.ascii ?? (physical.content === 'too_long' ? '' : physical.content.toString('utf8'));
  const bodyText = bodyAsWritten(text);
  return bodyText === undefined ? request : { ...request, bodyText };
}

/** The line that each worker in a row died of, as far as can be told: it is not run again. */
export function givenUpEntry(
  physical: PhysicalLine,
  context: LineContext & { batchId: string },
  attempts: number,
): SegmentEntry {
  const checked = checkLine(physical, context);
  const customId = checked.ok ? checked.request.customId : checked.customId;
  const error = { code: 'processing_failed', message: 'Each worker that ran this line died of it.' } as const;
  return failedEntry(context.batchId, { line: physical.line, customId, error, attempts });
}

export function answeredEntry(
  batchId: string,
  line: number,
  customId: string,
  statusCode: number,
  body: string,
): SegmentEntry {
  return segmentEntry(line, 'o', outputLine(batchId, { line, customId }, statusCode, body));
}

export function failedCallEntry(batchId: string, line: HeldLine, failure: LineFailure): SegmentEntry {
  return failedEntry(batchId, {
    line: line.line,
    customId: line.request.customId,
    error: { code: FAILURE_CAUSES[failure.cause].lineErrorCode, message: failure.message },
    attempts: line.attempts,
    ...(failure.response ? { response: failure.response } : {}),
  });
}

function failedEntry(batchId: string, failed: FailedLine): SegmentEntry {
  return { ...segmentEntry(failed.line, 'e', errorLine(batchId, failed)), error: failed.error };
}
