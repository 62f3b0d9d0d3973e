import { createInputSource } from '../../adapters/net/inputSource.ts';
import { createReceiver } from '../../adapters/net/receiver.ts';
import { createS3Client } from '../../adapters/s3/client.ts';
import type { Settings } from '../../contract/settings.ts';
import type { Ports } from '../../ports.ts';
import { metered } from '../metering.ts';

export function sourcePorts(
  { allowPrivateNetworks, inputBuckets, fetch }: Settings,
  dataBucket: string,
): Pick<Ports, 'sources'> {
  return {
    sources: createInputSource({
      allowPrivateNetworks,
      // All projects' files lie in the product's own bucket: `s3://` never opens it, whatever the stage's list says.
      inputBuckets: inputBuckets.filter((name) => name !== dataBucket),
      s3Client: metered('s3', createS3Client()),
      idleTimeoutMs: fetch.idleTimeoutSeconds * 1000,
      maxRedirects: fetch.maxRedirects,
    }),
  };
}

export function receiverPorts({ allowPrivateNetworks }: Settings): Pick<Ports, 'receivers'> {
  return { receivers: createReceiver({ allowPrivateNetworks }) };
}
