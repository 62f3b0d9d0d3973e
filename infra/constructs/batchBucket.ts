import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import * as s3 from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { KEY_PREFIXES } from '../../shared/domain/objectKeys.ts';

/**
 * Days until S3 deletes what starts with each prefix. Outputs stay a day longer than the API offers them (30 days);
 * inputs outlive the longest window (7 days) and the outputs that a retry reads them for; parts and shard lists outlive
 * the longest window twice.
 */
const EXPIRY_DAYS = {
  uploads: 45,
  inputs: 45,
  outputs: 31,
  parts: 14,
  shards: 14,
  snapshots: 1,
} as const satisfies Record<keyof typeof KEY_PREFIXES, number>;

/** The bucket: private, TLS only, encrypted, and cleaned by key prefix. */
export class BatchBucket extends Construct {
  readonly bucket: s3.Bucket;

  constructor(scope: Construct, id: string, props: { keepData: boolean }) {
    super(scope, id);
    this.bucket = new s3.Bucket(this, 'Bucket', {
      blockPublicAccess: s3.BlockPublicAccess.BLOCK_ALL,
      enforceSSL: true,
      encryption: s3.BucketEncryption.S3_MANAGED,
      objectOwnership: s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
      removalPolicy: props.keepData ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
      lifecycleRules: [
        { id: 'unfinished-uploads', abortIncompleteMultipartUploadAfter: Duration.days(1) },
        ...Object.entries(EXPIRY_DAYS).map(([kind, days]) => ({
          id: kind,
          prefix: KEY_PREFIXES[kind as keyof typeof KEY_PREFIXES],
          expiration: Duration.days(days),
        })),
      ],
    });
  }
}
