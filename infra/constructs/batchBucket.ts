import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import * as s3 from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { EXPIRY_DAYS } from '../../shared/contract/retention.ts';
import { KEY_PREFIXES } from '../../shared/domain/objectKeys.ts';
import { accept } from '../nag.ts';

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
    accept(
      this.bucket,
      'S1',
      'No access logs: they would put the keys of all files and the query strings of pre-signed URLs into a second bucket. Whoever must account for each read turns on data events of CloudTrail.',
    );
  }
}
