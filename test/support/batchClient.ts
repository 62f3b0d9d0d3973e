import { setTimeout as pause } from 'node:timers/promises';
import { CANARIES, withCanaries, withoutCanaries } from './canaries.ts';

/** A client of the API as a user would write one: HTTP and nothing else. */
export type WireBatch = {
  id: string;
  status: string;
  delivered_at: string | null;
  has_output_file: boolean;
  has_errors_file: boolean;
  errors: { code: string; line: number | null; message: string; param: string | null }[];
  request_counts: { total: number; completed: number; failed: number };
  usage: { input_tokens: number; output_tokens: number; total_tokens: number } | null;
  [field: string]: unknown;
};

const ENDED = ['completed', 'failed', 'expired', 'cancelled'];

/** Where many wait at once they look less often, or what they wait for gets no processor. */
export function createBatchClient(url: string, apiKey: string, pollMs = 50) {
  const call = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const answer = await fetch(url + path, {
      method,
      headers: {
        authorization: `Bearer ${apiKey}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Record<string, unknown> };
  };

  /** Text gets canaries into its prompts; bytes go as they are. */
  async function upload(content: string | Uint8Array): Promise<string> {
    const bytes = typeof content === 'string' ? new TextEncoder().encode(withCanaries(content)) : content;
    const { status, body } = await call('POST', '/files', { bytes: bytes.length });
    if (status !== 201) throw new Error(`POST /files answered ${status}: ${JSON.stringify(body)}`);
    const put = await fetch(String(body.upload_url), {
      method: 'PUT',
      headers: { 'content-type': 'application/jsonl' },
      body: bytes,
    });
    if (put.status !== 200) throw new Error(`The upload answered ${put.status}: ${await put.text()}`);
    return String(body.input_file_url);
  }

  async function create(fields: Record<string, unknown>): Promise<WireBatch> {
    const { status, body } = await call('POST', '/batches', { name: CANARIES.batchName, ...fields });
    if (status !== 201) throw new Error(`POST /batches answered ${status}: ${JSON.stringify(body)}`);
    return body as WireBatch;
  }

  const get = async (id: string): Promise<WireBatch> => (await call('GET', `/batches/${id}`)).body as WireBatch;

  /** Looks until the batch satisfies `is`; the test's own timeout bounds it. */
  async function until(id: string, is: (batch: WireBatch) => boolean): Promise<WireBatch> {
    for (;;) {
      const batch = await get(id);
      if (is(batch)) return batch;
      await pause(pollMs);
    }
  }

  async function fetchFile(signedUrl: unknown): Promise<string[]> {
    if (typeof signedUrl !== 'string') return [];
    const answer = await fetch(signedUrl);
    if (!answer.ok) throw new Error(`The download answered ${answer.status}: ${await answer.text()}`);
    const text = await answer.text();
    if (!text.endsWith('\n')) throw new Error('A result file ends with a newline');
    return text.slice(0, -1).split('\n');
  }

  return {
    call,
    upload,
    create,
    get,
    until,
    untilEnded: (id: string) => until(id, ({ status }) => ENDED.includes(status)),
    /** The lines of both files, parsed and without canaries, and as they are. */
    async results(id: string) {
      const { body } = await call('GET', `/batches/${id}/download`);
      const [output, errors] = await Promise.all([fetchFile(body.output_file_url), fetchFile(body.errors_file_url)]);
      const parse = (lines: string[]) => lines.map((line) => JSON.parse(withoutCanaries(line)) as ResultLine);
      return { output: parse(output), errors: parse(errors), rawOutput: output, rawErrors: errors };
    },
  };
}

export type ResultLine = {
  id: string;
  custom_id: string | null;
  line?: number;
  response: { status_code: number; body: Record<string, unknown> } | null;
  error?: { code: string; message: string };
  attempts?: number;
};
