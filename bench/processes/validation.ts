import { createReadStream } from 'node:fs';
import { SettingsSchema } from '../../shared/contract/settings.ts';
import { ModelsFileSchema } from '../../shared/domain/models.ts';
import type { FileStore } from '../../shared/ports.ts';
import { checkLines } from '../../shared/usecases/validateInput/checkLines.ts';
import { InvalidLines } from '../../shared/usecases/validateInput/invalidLines.ts';
import { answerQuestions } from './benchProcess.ts';

/** The pass of Validate over a file, or the least that one can do with JSONL: read, split, `JSON.parse`. */
export type ValidationQuestion = { file: string; how: 'validate' | 'parse' };
/** `cpuSeconds`: of all threads of the process. */
export type ValidationAnswer = { seconds: number; cpuSeconds: number; lines: number };

/** Both read alike. */
const CHUNK_BYTES = 1024 * 1024;
const open = (file: string) => createReadStream(file, { highWaterMark: CHUNK_BYTES });

const { limits } = SettingsSchema.parse({});
const models = ModelsFileSchema.parse({
  providers: { bench: { kind: 'simulator' } },
  models: { default: { provider: 'bench', model: 'bench-model', endpoints: ['chat/completions'] } },
});

async function validate(file: string): Promise<number> {
  const nothingElse = (): never => {
    throw new Error('Nothing but the input is read, and nothing is written where no line is bad');
  };
  const files = new Proxy(
    { read: async () => open(file) },
    {
      get: (target, name) => (name === 'read' ? target.read : nothingElse()),
    },
  ) as Pick<FileStore, 'read'> as FileStore;
  const invalid = new InvalidLines(files, 'invalid', 'batch');
  const input = { key: file, etag: '"1"', bytes: 0 };
  const checked = await checkLines(
    { files, models, limits },
    { type: 'COMPLETIONS' },
    input,
    invalid,
    async () => false,
  );
  if (checked === 'stopped' || checked.lines.badLines > 0) throw new Error('The file has bad lines');
  return checked.lines.runnable;
}

const LF = 0x0a;

async function parse(file: string): Promise<number> {
  let lines = 0;
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of open(file) as AsyncIterable<Buffer>) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let from = 0;
    for (let to = bytes.indexOf(LF); to !== -1; to = bytes.indexOf(LF, from)) {
      JSON.parse(bytes.toString('utf8', from, to));
      lines++;
      from = to + 1;
    }
    rest = bytes.subarray(from);
  }
  return lines;
}

answerQuestions<ValidationQuestion, ValidationAnswer>(async ({ file, how }) => {
  // What the turn before has left is not this one's to collect.
  globalThis.gc?.();
  const start = performance.now();
  const usage = process.cpuUsage();
  const lines = await (how === 'validate' ? validate : parse)(file);
  const { user, system } = process.cpuUsage(usage);
  return { seconds: (performance.now() - start) / 1_000, cpuSeconds: (user + system) / 1e6, lines };
});
