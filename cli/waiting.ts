import type { BatchWithErrorsView } from '../shared/contract/batchView.ts';
import { ApiUnreachable } from './apiClient.ts';
import { batchText } from './batchText.ts';
import { onInterrupt } from './interruption.ts';
import type { Target } from './target.ts';
import { print, printJson, say } from './terminal.ts';
import { watchBatch } from './watchBatch.ts';

/** Watches a batch to its end; whoever stops watching is told that it goes on, and how to watch it again. */
export async function waitForEnd(target: Target, id: string, whenLeft = target.whenLeft): Promise<BatchWithErrorsView> {
  const howToGoOn = `${whenLeft} To watch it again:\n  ${target.command(`get ${id} --watch`)}`;
  onInterrupt(() => howToGoOn);
  try {
    return await watchBatch(target, id);
  } catch (error) {
    if (error instanceof ApiUnreachable) say(howToGoOn);
    throw error;
  }
}

export function showBatch(batch: BatchWithErrorsView, json: boolean | undefined): void {
  if (json) printJson(batch);
  else print(batchText(batch));
}

/** Says what can be done with a batch next. */
export function sayNext(target: Target, { id, has_output_file, has_errors_file }: BatchWithErrorsView): void {
  if (has_output_file || has_errors_file) say(`\nIts files: ${target.command(`download ${id} --out results/${id}`)}`);
}
