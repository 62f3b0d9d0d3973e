import { createS3Client } from '../../adapters/s3/client.ts';
import { createFileStore } from '../../adapters/s3/fileStore.ts';
import type { Ports } from '../../ports.ts';
import { metered } from '../metering.ts';

export function filePorts(bucket: string): Pick<Ports, 'files'> {
  return { files: createFileStore({ client: metered('s3', createS3Client()), bucket }) };
}
