import { pathToFileURL } from 'node:url';
import { answerQuestions } from './benchProcess.ts';

/** Loads a handler's bundle, as a sandbox does at its start; once, since a process keeps what it has loaded. */
export type ImportQuestion = { file: string };
export type ImportAnswer = { milliseconds: number };

answerQuestions<ImportQuestion, ImportAnswer>(async ({ file }) => {
  const url = pathToFileURL(file).href;
  const start = performance.now();
  await import(url);
  return { milliseconds: performance.now() - start };
});
