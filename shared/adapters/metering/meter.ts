import type { AwsUse } from '../../contract/metered.ts';

/** Counters of one sandbox, which runs one invocation at a time: a fixed set of numbers, however much is counted. */
export type Meter = {
  add(command: string, service: MeteredService, end: CallEnd): void;
  /** What was counted since the last time. */
  take(): AwsUse;
};

export type MeteredService = 'dynamodb' | 's3' | 'states' | 'secrets';

/** How one try of a call ended. `units`: those that DynamoDB reported. */
export type CallEnd = { units?: number; errorName?: string };

const READS = new Set(['GetItem', 'BatchGetItem', 'Query', 'Scan']);

/** https://aws.amazon.com/s3/pricing/: PUT, COPY, POST and LIST are one class; DELETE is free, and so is an abort. */
const S3_PUTS = new Set([
  'PutObject',
  'CopyObject',
  'CreateMultipartUpload',
  'UploadPart',
  'UploadPartCopy',
  'CompleteMultipartUpload',
  'ListObjectsV2',
  'ListParts',
  'ListMultipartUploads',
]);
const S3_FREE = new Set(['DeleteObject', 'DeleteObjects', 'AbortMultipartUpload']);

const nothing = (): AwsUse => ({
  dynamodb: { read_units: 0, write_units: 0, refused_writes: 0, requests: 0 },
  s3: { puts: 0, gets: 0, free: 0 },
  states: { requests: 0 },
  secrets: { requests: 0 },
});

export function createMeter(): Meter {
  let use = nothing();

  function addDynamoDb(command: string, { units = 0, errorName }: CallEnd): void {
    const { dynamodb } = use;
    dynamodb.requests++;
    if (READS.has(command)) dynamodb.read_units += units;
    else dynamodb.write_units += units;
    // Charged by the size of the record that stands there, which the refusal does not tell: records of ours have 1 to 4 KB.
    if (errorName === 'ConditionalCheckFailedException') {
      dynamodb.refused_writes++;
      dynamodb.write_units++;
    }
  }

  return {
    add(command, service, end) {
      if (service === 'dynamodb') addDynamoDb(command, end);
      else if (service !== 's3') use[service].requests++;
      else if (S3_PUTS.has(command)) use.s3.puts++;
      else if (S3_FREE.has(command)) use.s3.free++;
      // GET, HEAD and whatever comes to be called later.
      else use.s3.gets++;
    },
    take() {
      const taken = use;
      use = nothing();
      return taken;
    },
  };
}
