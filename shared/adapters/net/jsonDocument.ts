import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { type GuardOptions, guardedLookup, parseTarget } from './guard.ts';
import { describeNetworkFault } from './networkFault.ts';

/** What was asked for did not come. The message names the host and why, never the path or the query. */
export class DocumentUnreadable extends Error {
  override readonly name = 'DocumentUnreadable';
}

/**
 * GETs a small JSON document, by the rules of `guard.ts`. No redirect is followed. Node's own client, since every
 * function of the API has this in its bundle, and undici takes 730 KB.
 */
export async function readJsonDocument(
  url: string,
  options: GuardOptions & { timeoutMs: number; maxBytes: number },
): Promise<unknown> {
  const host = URL.parse(url)?.host ?? '(no URL)';
  // The whole exchange: name, connection, head and body.
  const signal = AbortSignal.timeout(options.timeoutMs);
  try {
    return JSON.parse(await read(url, options, signal));
  } catch (cause) {
    const why =
      cause instanceof DocumentUnreadable
        ? cause.message
        : cause instanceof SyntaxError
          ? 'it does not answer JSON'
          : // A body that is cut off by the signal ends as a connection that was reset.
            describeNetworkFault(signal.aborted ? signal.reason : cause);
    throw new DocumentUnreadable(`The document at ${host} cannot be read: ${why}.`, { cause });
  }
}

async function read(url: string, options: GuardOptions & { maxBytes: number }, signal: AbortSignal): Promise<string> {
  const target = parseTarget(url, options);
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const send = target.protocol === 'https:' ? requestHttps : requestHttp;
    send(target, {
      // A connection of its own: nothing may stay open in a frozen sandbox.
      agent: false,
      lookup: guardedLookup(options),
      signal,
      headers: { accept: 'application/json', 'accept-encoding': 'identity', 'user-agent': 'batch-api' },
      ...(options.ca === undefined ? {} : { ca: options.ca }),
    })
      .on('response', resolve)
      .on('error', reject)
      .end();
  });
  try {
    if (answer.statusCode !== 200) throw new DocumentUnreadable(`it answered ${answer.statusCode}`);
    return await readBody(answer, options.maxBytes);
  } finally {
    // Closes the connection where not all was read.
    answer.destroy();
  }
}

async function readBody(answer: AsyncIterable<Uint8Array>, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of answer) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new DocumentUnreadable(`it answers more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
