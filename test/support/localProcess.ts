import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { ROOT } from '../../local/synth.ts';
import { type RunInfo, RunInfoSchema } from '../../shared/contract/runInfo.ts';
import { leaksIn } from './canaries.ts';

/** A local run in a process of its own, which can be killed as a whole. */
export type LocalProcess = {
  /** What it prints once it is up. Rejects, with what it said, where it ends before. */
  ready: Promise<RunInfo>;
  /** Resolves once it has said this on stderr. */
  saw(text: string): Promise<void>;
  /** The end of what it said on stderr. */
  said(): string;
  isRunning(): boolean;
  /** SIGKILL: nothing in it ends in order. */
  kill(): Promise<void>;
  /** Kills one of the processes that its workers run in; false where it has none at this moment. */
  killWorker(): Promise<boolean>;
  /** SIGTERM, which ends it in order. Answers its exit code. */
  stop(): Promise<number | null>;
};

const KEPT_CHARACTERS = 20_000;

/** Starts a script (of the repository's folder) that says on stdout what `npm start -- --json` does. */
export function startLocalProcess(script: string, args: string[]): LocalProcess {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(ROOT, script), ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    cwd: ROOT,
  });
  const orphaned = () => child.kill('SIGKILL');
  process.once('exit', orphaned);
  // After its pipes, so that what it said last is there.
  const closed = once(child, 'close').finally(() => process.off('exit', orphaned));
  let said = '';
  let onSaid = () => {};
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-KEPT_CHARACTERS);
    onSaid();
  });
  const ready = Promise.race([
    once(createInterface({ input: child.stdout }), 'line').then(([line]) => RunInfoSchema.parse(JSON.parse(line))),
    closed.then(() => {
      throw new Error(`The local run ended (${child.signalCode ?? child.exitCode}) before it was ready:\n${said}`);
    }),
  ]);
  // Whoever kills it while it starts does not wait for it to be ready.
  ready.catch(() => {});
  const end = async (signal: NodeJS.Signals) => {
    if (isRunning(child)) child.kill(signal);
    await closed;
    const leaks = leaksIn(said, 'stderr of the local run');
    if (leaks.length > 0) throw new Error(leaks.join('\n'));
    return child.exitCode;
  };
  return {
    ready,
    saw: (text) =>
      new Promise((resolve) => {
        onSaid = () => {
          if (said.includes(text)) resolve();
        };
        onSaid();
      }),
    said: () => said,
    isRunning: () => isRunning(child),
    kill: async () => void (await end('SIGKILL')),
    async killWorker() {
      const [worker] = await workersOf(child);
      if (worker !== undefined) process.kill(worker, 'SIGKILL');
      return worker !== undefined;
    },
    stop: () => end('SIGTERM'),
  };
}

/** Newest first: those that are idle are reused last. */
async function workersOf({ pid }: ChildProcess): Promise<number[]> {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid=,args=']);
  const isWorker = ([, parent, ...args]: string[]) =>
    Number(parent) === pid && args.some((arg) => arg.endsWith('/bootstrap.mjs'));
  const rows = stdout.split('\n').map((row) => row.trim().split(/\s+/));
  return rows
    .filter(isWorker)
    .map(([worker]) => Number(worker))
    .sort((a, b) => b - a);
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}
