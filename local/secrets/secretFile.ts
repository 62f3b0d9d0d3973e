import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';

const VersionSchema = z.object({ versionId: z.string(), value: z.string(), createdAt: z.number() });
export type SecretVersion = z.infer<typeof VersionSchema>;
/** AWSCURRENT, and AWSPREVIOUS once another was put. */
const KeptSecretSchema = VersionSchema.extend({ previous: VersionSchema.exactOptional() });
const FileSchema = z.record(z.string(), KeptSecretSchema);
export type KeptSecret = z.infer<typeof KeptSecretSchema>;

/** What was generated, by the secret's name; nobody but the owner of the process may read the file. */
export function openSecretFile(dataDir: string) {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const path = join(dataDir, 'secrets.json');
  const kept = new Map(Object.entries(read(path)));
  return {
    get: (name: string): KeptSecret | undefined => kept.get(name),
    put(name: string, secret: KeptSecret): void {
      kept.set(name, secret);
      write(path, JSON.stringify(Object.fromEntries(kept), null, 2));
    },
  };
}

function read(path: string): z.infer<typeof FileSchema> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {};
    throw error;
  }
  try {
    return FileSchema.parse(JSON.parse(text));
  } catch (error) {
    // Never made anew over a file that cannot be read: what is lost with it is an operator's key.
    throw new Error(`${path} is not a file of secrets. Put it right, or delete it to have new secrets made.`, {
      cause: error,
    });
  }
}

/** Whole or not at all, and on the disk when this returns. */
function write(path: string, text: string): void {
  const beside = `${path}.${process.pid}.tmp`;
  const file = openSync(beside, 'w', 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(beside, path);
}
