import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { onlyFields, refuse } from './features.ts';
import type { MapStorage } from './mapStorage.ts';
import { compileTemplate, type Evaluate, type StatesContext } from './payloadTemplate.ts';
import { isObject, type Json, type JsonObject, runtimeError, StatesError } from './statesError.ts';

const PUT_OBJECT = /^arn:[^:]+:states:::s3:putObject$/;
const TRANSFORMATIONS = ['NONE', 'COMPACT', 'FLATTEN'] as const;
const OUTPUT_TYPES = ['JSON', 'JSONL'] as const;

type Format = { transformation: (typeof TRANSFORMATIONS)[number]; outputType: (typeof OUTPUT_TYPES)[number] };
export type ResultWriter = { target: Evaluate; format: Format };

/** How one child execution ended. */
export type ChildResult = {
  executionArn: string;
  name: string;
  stateMachineArn: string;
  input: string;
  startDate: string;
  stopDate: string;
} & ({ status: 'SUCCEEDED'; output: Json } | { status: 'FAILED' | 'ABORTED'; error: string; cause: string });

export type ResultFiles = {
  add(result: ChildResult): Promise<void>;
  /** Sends what was gathered and the manifest; answers where the manifest is. */
  send(): Promise<{ Bucket: string; Key: string }>;
  close(): Promise<void>;
};

export function loadResultWriter(state: Record<string, unknown>, where: string): ResultWriter {
  const writer = state.ResultWriter;
  // Without one the results would have to pass as the state's output; no machine of ours wants that.
  if (!isObject(writer)) refuse(where, 'a distributed map without ResultWriter');
  onlyFields(writer, ['Resource', 'Parameters', 'WriterConfig'], `${where}, ResultWriter`);
  if (!PUT_OBJECT.test(String(writer.Resource))) refuse(where, `the ResultWriter Resource ${String(writer.Resource)}`);
  if (!isObject(writer.Parameters)) refuse(where, 'a ResultWriter without Parameters');
  onlyFields(writer.Parameters, ['Bucket', 'Bucket.$', 'Prefix', 'Prefix.$'], `${where}, ResultWriter Parameters`);
  const config = isObject(writer.WriterConfig) ? writer.WriterConfig : {};
  onlyFields(config, ['OutputType', 'Transformation'], `${where}, WriterConfig`);
  const outputType = OUTPUT_TYPES.find((type) => type === (config.OutputType ?? 'JSON'));
  const transformation = TRANSFORMATIONS.find((name) => name === (config.Transformation ?? 'NONE'));
  if (!outputType) refuse(where, `WriterConfig.OutputType ${String(config.OutputType)}`);
  if (!transformation) refuse(where, `WriterConfig.Transformation ${String(config.Transformation)}`);
  // Made of parsed JSON text.
  return { target: compileTemplate(writer.Parameters as JsonObject), format: { outputType, transformation } };
}

/** Opens the files of one map run: children in the order in which they end. */
export async function openResults(
  writer: ResultWriter,
  run: { mapRunArn: string; runId: string; folder: string; storage: MapStorage; input: Json; context: StatesContext },
): Promise<ResultFiles> {
  const parameters = await writer.target(run.input, run.context);
  if (!isObject(parameters) || typeof parameters.Bucket !== 'string' || typeof (parameters.Prefix ?? '') !== 'string') {
    throw runtimeError('The ResultWriter wants a Bucket and a Prefix that are texts.');
  }
  const { Bucket } = parameters;
  const prefix = `${parameters.Prefix ?? ''}`.replace(/\/+$/, '');
  const keyOf = (file: string) => `${prefix === '' ? '' : `${prefix}/`}${run.runId}/${file}`;
  const files = { SUCCEEDED: resultFile('SUCCEEDED'), FAILED: resultFile('FAILED') };

  function resultFile(kind: string) {
    const name = `${kind}_0.${writer.format.outputType.toLowerCase()}`;
    return createJsonFile(join(run.folder, name), writer.format.outputType, name);
  }

  return {
    async add(result) {
      const file = result.status === 'SUCCEEDED' ? files.SUCCEEDED : files.FAILED;
      for (const entry of entriesOf(result, writer.format)) await file.append(entry);
    },
    async send() {
      try {
        const sent: Record<string, { Key: string; Size: number }[]> = { FAILED: [], PENDING: [], SUCCEEDED: [] };
        for (const [kind, file] of Object.entries(files)) {
          if (!(await file.end())) continue;
          const Key = keyOf(file.name);
          const { bytes } = await run.storage.upload(file.path, { bucket: Bucket, key: Key });
          sent[kind] = [{ Key, Size: bytes }];
        }
        const manifest = { DestinationBucket: Bucket, MapRunArn: run.mapRunArn, ResultFiles: sent };
        const Key = keyOf('manifest.json');
        await run.storage.write(JSON.stringify(manifest), { bucket: Bucket, key: Key });
        return { Bucket, Key };
      } catch (error) {
        throw new StatesError('States.ResultWriterFailed', error instanceof Error ? error.message : String(error));
      }
    },
    async close() {
      await Promise.all(Object.values(files).map((file) => file.close()));
    },
  };
}

/** What Step Functions writes about a child: all of it, or the output alone. Failures are always told in full. */
function entriesOf(result: ChildResult, { transformation }: Format): Json[] {
  if (result.status === 'SUCCEEDED' && transformation !== 'NONE') {
    return transformation === 'FLATTEN' && Array.isArray(result.output) ? result.output : [result.output];
  }
  const common = {
    ExecutionArn: result.executionArn,
    Input: result.input,
    InputDetails: { Included: true },
    Name: result.name,
    RedriveCount: 0,
    StartDate: result.startDate,
    StateMachineArn: result.stateMachineArn,
    Status: result.status,
    StopDate: result.stopDate,
  };
  return [
    result.status === 'SUCCEEDED'
      ? { ...common, Output: JSON.stringify(result.output), OutputDetails: { Included: true } }
      : { ...common, Error: result.error, Cause: result.cause },
  ];
}

// One write an entry costs more than all the rest of a map run.
const WRITE_CHARACTERS = 256 * 1024;

/** A JSON array or JSONL that grows on disk; made with its first entry. */
function createJsonFile(path: string, type: Format['outputType'], name: string) {
  let handle: FileHandle | undefined;
  let entries = 0;
  let unwritten = '';
  // Writes one after the other, whoever calls.
  let last: Promise<void> = Promise.resolve();
  const write = (): Promise<void> => {
    const text = unwritten;
    unwritten = '';
    last = last.then(async () => {
      handle ??= await open(path, 'wx', 0o600);
      await handle.appendFile(text);
    });
    return last;
  };
  return {
    path,
    name,
    async append(entry: Json): Promise<void> {
      const text = JSON.stringify(entry);
      unwritten += type === 'JSONL' ? `${text}\n` : `${entries === 0 ? '[' : ',\n'}${text}`;
      entries += 1;
      if (unwritten.length >= WRITE_CHARACTERS) await write();
    },
    /** False where there is no entry, and so no file. */
    async end(): Promise<boolean> {
      if (entries === 0) return false;
      if (type === 'JSON') unwritten += ']';
      await write();
      return true;
    },
    async close(): Promise<void> {
      // A write that failed was told of where it was awaited.
      await last.catch(() => undefined);
      await handle?.close();
    },
  };
}
