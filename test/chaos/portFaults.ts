import type { BatchRef } from '../../shared/domain/batch.ts';
import type { Random } from '../support/random.ts';
import { withLostAnswer } from './lostAnswers.ts';
import type { Fault } from './weather.ts';

/** What a port throws after its client's own retries. */
export class InjectedFault extends Error {
  constructor(name: string, what: string) {
    super(`Injected: ${what}`);
    this.name = name;
  }
}

/** One call of a port that is about to be made. `draw` says whether a fault happens to it. */
export type FaultyCall = {
  method: string;
  random: Random;
  draw(fault: Fault): boolean;
  proceed(): Promise<unknown>;
};

const STARTS = new Set(['startBatch', 'startNotification', 'startSnapshot']);

export async function callTable({ random, draw, proceed }: FaultyCall): Promise<unknown> {
  const refusal = random.pick(['ThrottlingException', 'InternalServerError', 'ProvisionedThroughputExceededException']);
  if (draw('table_refused')) throw new InjectedFault(refusal, 'the table refuses');
  if (draw('table_timed_out')) {
    await proceed();
    throw new InjectedFault('TimeoutError', 'the answer of the table is lost');
  }
  return draw('table_answer_lost') ? withLostAnswer(proceed) : proceed();
}

export async function callFiles({ method, random, draw, proceed }: FaultyCall): Promise<unknown> {
  const refusal = random.pick(['InternalError', 'SlowDown']);
  if (draw('file_refused')) throw new InjectedFault(refusal, 'the bucket refuses');
  if (method === 'read') {
    const body = (await proceed()) as AsyncIterable<Uint8Array>;
    return draw('body_broken') ? broken(body, random.next()) : body;
  }
  if (draw('file_timed_out')) {
    await proceed();
    throw new InjectedFault('TimeoutError', 'the answer of the bucket is lost');
  }
  return draw('file_answer_lost') ? withLostAnswer(proceed) : proceed();
}

export async function callWorkflow({ method, draw, proceed }: FaultyCall): Promise<unknown> {
  if (!STARTS.has(method)) {
    if (draw('describe_refused')) throw new InjectedFault('ThrottlingException', 'no answer');
    return proceed();
  }
  if (draw('start_refused')) throw new InjectedFault('ThrottlingException', 'no start');
  const answer = await proceed();
  if (draw('start_timed_out')) throw new InjectedFault('TimeoutError', 'the answer of a start is lost');
  return answer;
}

export async function callReceiver({ draw, proceed }: FaultyCall): Promise<unknown> {
  if (draw('receiver_unreachable')) return { kind: 'unreachable', reason: 'injected' };
  const answer = await proceed();
  return draw('receiver_answer_lost') ? { kind: 'unreachable', reason: 'injected, after it' } : answer;
}

/** What the due index names, of the batches that are this run's; `ended`: one that it should not. */
export async function callDue(
  { random, draw, proceed }: FaultyCall,
  isOwn: (projectId: string) => boolean,
  ended: BatchRef | undefined,
): Promise<unknown> {
  // What other runs have left on the same table is none of this one's business.
  let due = ((await proceed()) as BatchRef[]).filter(({ projectId }) => isOwn(projectId));
  if (draw('due_omitted')) due = due.filter(() => random.chance(0.5));
  const names = ended && draw('due_stale') ? [ended, ...due.filter(({ batchId }) => batchId !== ended.batchId)] : due;
  return names;
}

/** Gives a part of the body, then breaks off. */
async function* broken(body: AsyncIterable<Uint8Array>, share: number): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    const cut = Math.floor(chunk.length * share);
    if (cut > 0) yield chunk.subarray(0, cut);
    break;
  }
  throw new InjectedFault('ECONNRESET', 'the body breaks off');
}
