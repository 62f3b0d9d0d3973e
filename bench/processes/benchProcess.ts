import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';

/** What is measured runs in a process of its own, with nothing else in it: one question at a time, one answer each. */
export type BenchProcess<Question, Answer> = { ask(question: Question): Promise<Answer>; close(): Promise<void> };

type FromChild<Answer> = { ready: true } | { answer: Answer } | { error: string };

export type ProcessOptions = { args?: string[]; execArgv?: string[]; env?: Record<string, string> };

/** Starts the file, which calls `answerQuestions` once it can take the first. */
export async function startBenchProcess<Question, Answer>(
  file: URL,
  { args = [], execArgv = [], env = {} }: ProcessOptions = {},
): Promise<BenchProcess<Question, Answer>> {
  const child = fork(file, args, {
    execArgv: ['--disable-warning=ExperimentalWarning', ...execArgv],
    env: { ...process.env, ...env },
  });
  const next = nextMessage<Answer>(child, file);
  const ready = await next();
  if (!('ready' in ready)) throw new Error(`${file.pathname} answered before it was asked`);
  return {
    async ask(question) {
      // Each process is asked by those who know its questions: they are plain JSON.
      child.send(question as object);
      const message = await next();
      if ('error' in message) throw new Error(message.error);
      if (!('answer' in message)) throw new Error(`${file.pathname} gave no answer`);
      return message.answer;
    },
    async close() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exit = once(child, 'exit');
      child.kill();
      await exit;
    },
  };
}

function nextMessage<Answer>(child: ChildProcess, file: URL): () => Promise<FromChild<Answer>> {
  const exit = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`${file.pathname} exited: ${code ?? signal}`);
  });
  // Its end is nobody's affair while nothing is asked.
  exit.catch(() => undefined);
  return async () => {
    const abort = new AbortController();
    try {
      // Sent by `answerQuestions` below.
      const message = once(child, 'message', { signal: abort.signal }).then(([first]) => first as FromChild<Answer>);
      return await Promise.race([message, exit]);
    } finally {
      abort.abort();
    }
  };
}

/** The other side. */
export function answerQuestions<Question, Answer>(handler: (question: Question) => Promise<Answer>): void {
  process.on('message', async (question) => {
    try {
      process.send?.({ answer: await handler(question as Question) } satisfies FromChild<Answer>);
    } catch (error) {
      process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  });
  // Whoever asks has gone: a server of this process would live on.
  process.on('disconnect', () => process.exit());
  process.send?.({ ready: true });
}
