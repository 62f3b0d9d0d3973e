import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import * as s3 from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { EXPIRY_DAYS } from '../../shared/contract/retention.ts';
import { KEY_PREFIXES } from '../../shared/domain/objectKeys.ts';

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
