import { invoke } from './harness.ts';

type Definition = Record<string, unknown>;

/** A distributed map over a JSONL object, as CDK's DistributedMap writes it. */
export function shardMap(change: Definition = {}) {
  return {
    Type: 'Map',
    Label: 'Shards',
    ItemReader: {
      Resource: 'arn:aws:states:::s3:getObject',
      ReaderConfig: { InputType: 'JSONL' },
      Parameters: { 'Bucket.$': '$.bucket', 'Key.$': '$.key' },
    },
    ItemSelector: {
      version: 1,
      'batchId.$': '$.batchId',
      'shard.$': '$$.Map.Item.Value',
      'index.$': '$$.Map.Item.Index',
    },
    MaxConcurrencyPath: '$.maxConcurrency',
    ItemProcessor: {
      ProcessorConfig: { Mode: 'DISTRIBUTED', ExecutionType: 'STANDARD' },
      StartAt: 'RunShard',
      States: { RunShard: invoke('runShard') },
    },
    ResultWriter: {
      Resource: 'arn:aws:states:::s3:putObject',
      Parameters: { 'Bucket.$': '$.bucket', 'Prefix.$': "States.Format('shards/{}/results', $.batchId)" },
      WriterConfig: { OutputType: 'JSON', Transformation: 'NONE' },
    },
    End: true,
    ...change,
  };
}
