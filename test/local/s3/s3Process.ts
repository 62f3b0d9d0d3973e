import { startS3 } from '../../../local/s3/server.ts';
import { LOCAL_S3 } from '../../support/localS3.ts';

// A local S3 in a process of its own: tells its URL, and its peak of resident memory whenever it is asked.
const [dataDir] = process.argv.slice(2);
if (!dataDir || !process.send) throw new Error('Forked with the data folder as its argument.');
const server = await startS3({ dataDir, region: LOCAL_S3.region, credentials: LOCAL_S3.credentials });
server.createBucket(LOCAL_S3.bucket);
// maxRSS is in kilobytes.
process.on('message', () => process.send?.(process.resourceUsage().maxRSS * 1024));
process.send(server.url);
