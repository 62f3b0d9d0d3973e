import type { LocalRun } from '../local/runtime.ts';
import type { BatchWithErrorsView } from '../shared/contract/batchView.ts';

/** What a benchmark asks of the API. */
export type BenchApi = {
  /** Answers the URL that a batch is created with; one upload serves any number of batches. */
  upload(input: Buffer): Promise<string>;
  create(inputFileUrl: string): Promise<string>;
  get(batchId: string): Promise<BatchWithErrorsView>;
};

export function apiOf(run: LocalRun): BenchApi {
  const call = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    const answer = await fetch(`${run.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${run.apiKey}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${method} ${path} answered ${answer.status}: ${await answer.text()}`);
    // By the API's own contract.
    return (await answer.json()) as T;
  };
  return {
    async upload(input) {
      type Upload = { upload_url: string; input_file_url: string };
      const upload = await call<Upload>('POST', '/files', { bytes: input.length });
      const put = await fetch(upload.upload_url, { method: 'PUT', body: input });
      if (!put.ok) throw new Error(`The upload answered ${put.status}: ${await put.text()}`);
      return upload.input_file_url;
    },
    async create(inputFileUrl) {
      const { id } = await call<{ id: string }>('POST', '/batches', {
        name: 'bench',
        type: 'COMPLETIONS',
        input_file_url: inputFileUrl,
        callback_url: run.demo.receiverUrl,
      });
      return id;
    },
    get: (batchId) => call('GET', `/batches/${batchId}`),
  };
}
