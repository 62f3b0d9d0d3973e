import { Pool } from 'undici';
import { requestLines } from '../requestLines.ts';
import { answerQuestions } from './benchProcess.ts';

/**
 * The least that a client of the model can do: bodies that lie ready in memory, so many in flight, each answer read and
 * thrown away.
 */
export type BareLoopQuestion = { url: string; lines: number; lineBytes: number; inFlight: number };
export type BareLoopAnswer = { seconds: number };

const decoder = new TextDecoder();
let ready: { key: string; bodies: string[] } | undefined;

function bodiesOf({ lines, lineBytes }: BareLoopQuestion): string[] {
  const key = `${lines} ${lineBytes}`;
  if (ready?.key !== key) {
    const bodies: string[] = [];
    for (const piece of requestLines({ lines, lineBytes }))
      for (const line of decoder.decode(piece).split('\n')) {
        if (line === '') continue;
        const { body } = JSON.parse(line) as { body: Record<string, unknown> };
        bodies.push(JSON.stringify({ ...body, model: 'bench-model' }));
      }
    ready = { key, bodies };
  }
  return ready.bodies;
}

answerQuestions<BareLoopQuestion, BareLoopAnswer>(async (question) => {
  const bodies = bodiesOf(question);
  const { origin, pathname } = new URL(question.url);
  const pool = new Pool(origin, { connections: question.inFlight, pipelining: 1 });
  let next = 0;
  const start = performance.now();
  const callOneByOne = async () => {
    for (let body = bodies[next++]; body !== undefined; body = bodies[next++]) {
      const headers = { 'content-type': 'application/json', accept: 'application/json' };
      const answer = await pool.request({ method: 'POST', path: pathname, headers, body });
      await answer.body.arrayBuffer();
      if (answer.statusCode !== 200) throw new Error(`The model answered ${answer.statusCode}`);
    }
  };
  await Promise.all(Array.from({ length: question.inFlight }, callOneByOne));
  const seconds = (performance.now() - start) / 1_000;
  await pool.close();
  return { seconds };
});
