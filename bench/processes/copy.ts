import { createS3Client } from '../../shared/adapters/s3/client.ts';
import { createFileStore } from '../../shared/adapters/s3/fileStore.ts';
import { answerQuestions } from './benchProcess.ts';

/** One object read and written again by a multipart upload, and nothing done with its bytes. */
export type CopyQuestion = { bucket: string; from: string; to: string };
export type CopyAnswer = { seconds: number; bytes: number };

const client = createS3Client();

answerQuestions<CopyQuestion, CopyAnswer>(async ({ bucket, from, to }) => {
  const files = createFileStore({ client, bucket });
  const start = performance.now();
  const upload = await files.upload(to);
  for await (const chunk of await files.read(from)) await upload.write(chunk);
  const { bytes } = await upload.complete();
  return { seconds: (performance.now() - start) / 1_000, bytes };
});
