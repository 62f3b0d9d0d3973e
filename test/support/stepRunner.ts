import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

/** A process that is one function's sandbox and nothing else: loads its bundle, and answers one invocation at a time. */
const [entryFile = '', timeoutSeconds = '900'] = process.argv.slice(2);

type Handler = (event: unknown, context: unknown) => Promise<unknown>;
const { handler } = (await import(pathToFileURL(entryFile).href)) as { handler: Handler };

/**
 * The most that was resident so far, in bytes. Linux hands the parent's own peak down to `maxRSS` of the child that it
 * forks (measured: 786 MB for an empty process of a parent that held 800), so the peak of this very address space is
 * read where there is one.
 */
function peakResidentBytes(): number {
  const kib = /^VmHWM:\s+(\d+) kB$/m.exec(readStatus())?.[1] ?? process.resourceUsage().maxRSS;
  return Number(kib) * 1024;
}

function readStatus(): string {
  return process.platform === 'linux' ? readFileSync('/proc/self/status', 'utf8') : '';
}

process.on('message', async (event) => {
  const deadline = Date.now() + Number(timeoutSeconds) * 1000;
  const context = { awsRequestId: 'request', getRemainingTimeInMillis: () => deadline - Date.now() };
  try {
    const answer = await handler(event, context);
    process.send?.({ answer, peakResidentBytes: peakResidentBytes() });
  } catch (error) {
    process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
});
process.send?.('ready');
