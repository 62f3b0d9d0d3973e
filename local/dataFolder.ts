import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import * as z from 'zod';
import { RUN_INFO_FILE, type RunInfo, RunInfoSchema } from '../shared/contract/runInfo.ts';

/** The local run cannot start as it was asked to; the message says what to do. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

const CredentialsSchema = z.object({ accessKeyId: z.string(), secretAccessKey: z.string() });
/** The ready-made API key, once it has been made. */
const ApiKeySchema = z.object({ apiKey: z.string() });
/** Ports that URLs in the hands of clients name: a restart takes the same ones if they are free. */
const PortsSchema = z.object({ s3: z.int(), demo: z.int() });

const LOCK = 'lock.db';

/** The folder that holds all of a local run. One process has it at a time. */
export type DataFolder = {
  path: string;
  credentials: z.infer<typeof CredentialsSchema>;
  apiKey: KeptFile<z.infer<typeof ApiKeySchema>>;
  ports: KeptFile<z.infer<typeof PortsSchema>>;
  publish(info: RunInfo): void;
  close(): void;
};
type KeptFile<T> = { read(): T | undefined; write(value: T): void };

function entriesOf(path: string): string[] {
  try {
    mkdirSync(path, { recursive: true });
    return readdirSync(path);
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new StartError(`${path} cannot be used as the data folder (${problem}). Name another one: --data DIR`, {
      cause,
    });
  }
}

/** Takes the folder, emptied first where `reset` is set. Throws `StartError` where it is somebody else's. */
export function openDataFolder(path: string, { reset = false }: { reset?: boolean } = {}): DataFolder {
  const held = entriesOf(path);
  if (held.length > 0 && !held.includes(LOCK)) {
    throw new StartError(
      `${path} is not empty and no data folder of the local run. Name an empty or new folder: --data DIR`,
    );
  }
  const lock = takeLock(path);
  if (reset) {
    for (const entry of readdirSync(path)) {
      if (!entry.startsWith(LOCK)) rmSync(join(path, entry), { recursive: true, force: true });
    }
  }
  rmSync(join(path, RUN_INFO_FILE), { force: true });
  const credentials = keptFile(join(path, 'credentials.json'), CredentialsSchema);
  const own = credentials.read() ?? {
    accessKeyId: `LOCAL${randomBytes(8).toString('hex').toUpperCase()}`,
    secretAccessKey: randomBytes(30).toString('base64url'),
  };
  credentials.write(own);
  return {
    path,
    credentials: own,
    apiKey: keptFile(join(path, 'api-key.json'), ApiKeySchema),
    ports: keptFile(join(path, 'ports.json'), PortsSchema),
    publish: (info) => keptFile(join(path, RUN_INFO_FILE), RunInfoSchema).write(info),
    close() {
      rmSync(join(path, RUN_INFO_FILE), { force: true });
      lock.close();
    },
  };
}

/**
 * The lock is SQLite's on an open file: the system gives it back when the process is gone, however it went, so there is
 * no stale one.
 */
function takeLock(path: string): DatabaseSync {
  const lock = new DatabaseSync(join(path, LOCK), { timeout: 0 });
  try {
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
    return lock;
  } catch (cause) {
    lock.close();
    // SQLITE_BUSY: https://www.sqlite.org/rescode.html#busy
    if (!(cause instanceof Error && 'errcode' in cause && cause.errcode === 5)) throw cause;
    const running = keptFile(join(path, RUN_INFO_FILE), RunInfoSchema).read();
    const who = running ? `the local run at ${running.url} (process ${running.pid})` : 'a local run that is starting';
    throw new StartError(
      `The data folder ${path} is in use by ${who}. Stop it with Ctrl-C in its terminal${running ? ` or "kill ${running.pid}"` : ''}, or use another folder: npm start -- --data DIR`,
      { cause },
    );
  }
}

/** A small JSON file that is replaced whole and is nobody else's to read: it may hold a key. */
function keptFile<T extends z.ZodType>(path: string, schema: T): KeptFile<z.output<T>> {
  return {
    read() {
      if (!existsSync(path)) return undefined;
      const parsed = schema.safeParse(JSON.parse(readFileSync(path, 'utf8')));
      return parsed.success ? parsed.data : undefined;
    },
    write(value) {
      writeFileSync(`${path}.new`, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
      renameSync(`${path}.new`, path);
    },
  };
}
