import { appendFileSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** A function's log on disk: one file and one older one, each up to `maxBytes`. */
export type LogFile = { write(text: string | Uint8Array): void };

/** Enough for a day of warnings, little enough that twenty functions cannot fill a disk. */
const DEFAULT_MAX_BYTES = 5 * 1024 * 1024;

export function openLogFile(path: string, maxBytes = DEFAULT_MAX_BYTES): LogFile {
  mkdirSync(dirname(path), { recursive: true });
  let size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  return {
    write(text) {
      const bytes = typeof text === 'string' ? Buffer.from(text) : text;
      if (size > 0 && size + bytes.length > maxBytes) {
        rmSync(`${path}.1`, { force: true });
        renameSync(path, `${path}.1`);
        size = 0;
      }
      appendFileSync(path, bytes);
      size += bytes.length;
    },
  };
}
