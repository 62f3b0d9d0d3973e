import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Clock } from './clock.ts';
import { onlyFields, refuse } from './features.ts';
import { createGate } from './gate.ts';
import { countLines, readLines } from './itemLines.ts';
import type { Machine, MachineRun, StateBody } from './machineRun.ts';
import type { MapStorage } from './mapStorage.ts';
import { compilePath, compileTemplate, type Evaluate, type StatesContext } from './payloadTemplate.ts';
import { type ChildResult, loadResultWriter, openResults, type ResultFiles } from './resultWriter.ts';
import { checkPayloadSize, isObject, type Json, type JsonObject, runtimeError, StatesError } from './statesError.ts';

const GET_OBJECT = /^arn:[^:]+:states:::s3:getObject$/;
// Step Functions runs up to 10,000 children where a machine names no bound; on one machine that is of no use.
const DEFAULT_CONCURRENCY = 1_000;

type World = { processor: Machine; clock: Clock; storage: MapStorage };

/**
 * A Map state in distributed mode: the items of a JSONL object in S3, each the input of a child execution of its own.
 * Children are dispatched in order and end in any; nothing but those that run is held in memory.
 */
export function loadDistributedMap(
  state: Record<string, unknown>,
  stateName: string,
  where: string,
  world: World,
): StateBody {
  const source = loadItemReader(state, where);
  // Parsed JSON text.
  const selector = 'ItemSelector' in state ? compileTemplate(state.ItemSelector as Json) : undefined;
  const writer = loadResultWriter(state, where);
  const concurrency = loadNumber(state, 'MaxConcurrency', where, Number.MAX_SAFE_INTEGER);
  const tolerated = {
    count: loadNumber(state, 'ToleratedFailureCount', where, Number.MAX_SAFE_INTEGER),
    percentage: loadNumber(state, 'ToleratedFailurePercentage', where, 100),
  };
  const label = typeof state.Label === 'string' ? state.Label : stateName.replace(/[^\w-]/g, '').slice(0, 40);

  return async (input, run) => {
    const runId = randomUUID();
    const names = mapNames(run.context, label, runId);
    const width = await concurrency?.(input, run.context);
    const toleratedCount = await tolerated.count?.(input, run.context);
    const toleratedPercentage = await tolerated.percentage?.(input, run.context);
    const folder = await world.storage.openFolder(runId);
    let results: ResultFiles | undefined;
    try {
      const file = join(folder, 'items.jsonl');
      const total = await fetchItems(await source(input, run.context), file, world.storage, run.signal);
      results = await openResults(writer, {
        ...names,
        runId,
        folder,
        storage: world.storage,
        input,
        context: run.context,
      });
      const tooMany = (failed: number) =>
        (toleratedCount !== undefined && failed > toleratedCount) ||
        (toleratedPercentage !== undefined && (failed / total) * 100 > toleratedPercentage) ||
        (toleratedCount === undefined && toleratedPercentage === undefined && failed > 0);
      const exceeded = await runChildren({
        ...names,
        ...world,
        items: readItems(file),
        inputOf: (value, index) => childInput(selector, value, index, input, run.context),
        width: width || DEFAULT_CONCURRENCY,
        tooMany,
        results,
        run,
      });
      const ResultWriterDetails = await results.send();
      if (exceeded) {
        throw new StatesError(
          'States.ExceedToleratedFailureThreshold',
          'The specified tolerated failure threshold was exceeded',
        );
      }
      return { MapRunArn: names.mapRunArn, ResultWriterDetails };
    } finally {
      await results?.close();
      await world.storage.closeFolder(folder);
    }
  };
}

type Names = { mapRunArn: string; childMachineArn: string; childMachineName: string; childArn(name: string): string };

/** The names that Step Functions gives to a map run and its children. */
function mapNames({ StateMachine }: StatesContext, label: string, runId: string): Names {
  const of = (kind: string) => StateMachine.Id.replace(':stateMachine:', `:${kind}:`);
  return {
    mapRunArn: `${of('mapRun')}/${label}:${runId}`,
    childMachineArn: `${StateMachine.Id}/${label}`,
    childMachineName: `${StateMachine.Name}/${label}`,
    childArn: (name) => `${of('execution')}/${label}:${name}`,
  };
}

type Children = Names & {
  processor: Machine;
  clock: Clock;
  items: AsyncIterable<{ index: number; value: Json }>;
  inputOf(value: Json, index: number): Promise<Json>;
  width: number;
  tooMany(failed: number): boolean;
  results: ResultFiles;
  run: MachineRun;
};

/** Runs a child an item. Answers whether more failed than are tolerated: then no more are begun and the rest aborted. */
async function runChildren(children: Children): Promise<boolean> {
  const { run, results } = children;
  const gate = createGate(children.width);
  const ownStop = new AbortController();
  const signal = AbortSignal.any([run.signal, ownStop.signal]);
  let failed = 0;
  // A fault of the map itself, not of a child: it fails the state as it is.
  let fault: unknown;

  async function runChild(input: Json): Promise<void> {
    const result = await childExecution(children, input, signal);
    if (run.signal.aborted) return;
    await results.add(result);
    if (result.status === 'FAILED') failed += 1;
    if (children.tooMany(failed)) ownStop.abort();
  }

  try {
    for await (const { index, value } of children.items) {
      await gate.enter();
      if (signal.aborted) {
        gate.leave();
        break;
      }
      const input = await children.inputOf(value, index).catch((error: unknown) => {
        gate.leave();
        throw error;
      });
      runChild(input)
        .catch((error: unknown) => {
          fault ??= error;
          ownStop.abort();
        })
        .finally(() => gate.leave());
    }
  } catch (error) {
    fault ??= error;
    ownStop.abort();
  }
  await gate.empty();
  if (fault !== undefined) throw fault;
  return ownStop.signal.aborted;
}

async function childExecution(children: Children, input: Json, signal: AbortSignal): Promise<ChildResult> {
  const name = randomUUID();
  const executionArn = children.childArn(name);
  const startDate = new Date(children.clock.now()).toISOString();
  const context = {
    Execution: { Id: executionArn, Name: name, StartTime: startDate, Input: input },
    StateMachine: { Id: children.childMachineArn, Name: children.childMachineName },
  };
  const end = () => ({
    executionArn,
    name,
    stateMachineArn: children.childMachineArn,
    input: JSON.stringify(input),
    startDate,
    stopDate: new Date(children.clock.now()).toISOString(),
  });
  try {
    const output = await children.processor.run(input, { context, signal, observe: children.run.observe });
    return { ...end(), status: 'SUCCEEDED', output };
  } catch (error) {
    const status = signal.aborted ? 'ABORTED' : 'FAILED';
    const name = error instanceof Error ? error.name : 'States.Runtime';
    return { ...end(), status, error: name, cause: error instanceof Error ? error.message : String(error) };
  }
}

async function childInput(
  selector: Evaluate | undefined,
  value: Json,
  index: number,
  input: Json,
  context: StatesContext,
): Promise<Json> {
  const Item = { Index: index, Value: value };
  const result = selector ? await selector(input, { ...context, Map: { Item } }) : value;
  checkPayloadSize(result, `The input of item ${index}`);
  return result;
}

/* ---------------------------------------------------------------- items */

function loadItemReader(state: Record<string, unknown>, where: string): Evaluate {
  const reader = state.ItemReader;
  if (!isObject(reader)) refuse(where, 'a distributed map without ItemReader');
  onlyFields(reader, ['Resource', 'ReaderConfig', 'Parameters'], `${where}, ItemReader`);
  if (!GET_OBJECT.test(String(reader.Resource))) refuse(where, `the ItemReader Resource ${String(reader.Resource)}`);
  const config = isObject(reader.ReaderConfig) ? reader.ReaderConfig : {};
  onlyFields(config, ['InputType'], `${where}, ReaderConfig`);
  if (config.InputType !== 'JSONL') refuse(where, `ReaderConfig.InputType ${String(config.InputType)}`);
  if (!isObject(reader.Parameters)) refuse(where, 'an ItemReader without Parameters');
  onlyFields(reader.Parameters, ['Bucket', 'Bucket.$', 'Key', 'Key.$'], `${where}, ItemReader Parameters`);
  // Parsed JSON text.
  return compileTemplate(reader.Parameters as JsonObject);
}

async function fetchItems(source: Json, file: string, storage: MapStorage, signal: AbortSignal): Promise<number> {
  if (!isObject(source) || typeof source.Bucket !== 'string' || typeof source.Key !== 'string') {
    throw runtimeError('The ItemReader wants a Bucket and a Key that are texts.');
  }
  const { Bucket: bucket, Key: key } = source;
  try {
    await storage.download({ bucket, key }, file, signal);
    return await countLines(file);
  } catch (error) {
    throw itemReaderFailed(`s3://${bucket}/${key}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function* readItems(file: string): AsyncGenerator<{ index: number; value: Json }> {
  let index = 0;
  for await (const line of readLines(file)) {
    let value: Json;
    try {
      value = JSON.parse(line) as Json;
    } catch (error) {
      throw itemReaderFailed(`Item ${index} is not JSON: ${error instanceof Error ? error.message : String(error)}`);
    }
    yield { index, value };
    index += 1;
  }
}

const itemReaderFailed = (cause: string) => new StatesError('States.ItemReaderFailed', cause);

/** `<field>` or `<field>Path`: a whole number from 0 to `max`. */
function loadNumber(
  state: Record<string, unknown>,
  field: string,
  where: string,
  max: number,
): ((input: Json, context: StatesContext) => Promise<number>) | undefined {
  const path = state[`${field}Path`];
  const fixed = state[field];
  if (path === undefined && fixed === undefined) return undefined;
  if (path !== undefined && fixed !== undefined) refuse(where, `${field} beside ${field}Path`);
  const evaluate = typeof path === 'string' ? compilePath(path) : compileTemplate(fixed as Json);
  return async (input, context) => {
    const value = await evaluate(input, context);
    if (typeof value !== 'number' || value < 0 || value > max) {
      throw runtimeError(`${field} is ${JSON.stringify(value)}, not a number from 0 to ${max}.`);
    }
    return value;
  };
}
