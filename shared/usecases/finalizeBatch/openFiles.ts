import { FileMissing, type Ports } from '../../ports.ts';
import type { MergeCheckpoint, Progress } from './checkpoint.ts';
import { ResultFile } from './resultFile.ts';

/**
 * The files as the checkpoint left them; from the start where its uploads can no longer be gone on with. `resumable`:
 * they may be left in a checkpoint again.
 */
export async function openFiles(
  deps: Pick<Ports, 'files' | 'log'>,
  keys: { output: string; errors: string },
  resumable: boolean,
  saved: MergeCheckpoint | undefined,
): Promise<{ output: ResultFile; errors: ResultFile; progress: Progress }> {
  if (saved) {
    try {
      return {
        output: await ResultFile.open(deps.files, keys.output, resumable, saved.output),
        errors: await ResultFile.open(deps.files, keys.errors, resumable, saved.errors),
        progress: saved.progress,
      };
    } catch (error) {
      if (!(error instanceof FileMissing)) throw error;
      deps.log.warn('The uploads of the checkpoint are gone: the merge starts anew', { key: keys.output });
    }
  }
  return {
    output: await ResultFile.open(deps.files, keys.output, resumable),
    errors: await ResultFile.open(deps.files, keys.errors, resumable),
    progress: progressAtStart(),
  };
}

export function progressAtStart(): Progress {
  return { shard: 0, afterLine: 0, invalidAt: 0, kept: 0, keptAt: 0, completed: 0, failed: 0, errors: [] };
}
