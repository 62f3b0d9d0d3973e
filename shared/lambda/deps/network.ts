import { createInputSource } from '../../adapters/net/inputSource.ts';
import { createReceiver } from '../../adapters/net/receiver.ts';
import { createS3Client } from '../../adapters/s3/client.ts';
import type { Settings } from '../../contract/settings.ts';
import type { Ports } from '../../ports.ts';
import { metered } from '../metering.ts';

export function sourcePorts({ allowPrivateNetworks, inputBuckets, fetch }: Settings): Pick<Ports, 'sources'> {
  return {
    sources: createInputSource({
      allowPrivateNetworks,
      inputBuckets,
      s3Client: metered('s3', createS3Client()),
      idleTimeoutMs: fetch.idleTimeoutSeconds * 1000,
      maxRedirects: fetch.maxRedirects,
    }),
  };
}

export function receiverPorts({ allowPrivateNetworks }: Settings): Pick<Ports, 'receivers'> {
  return { receivers: createReceiver({ allowPrivateNetworks }) };
}
