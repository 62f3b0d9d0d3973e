import { type Action, answerXml } from '../action.ts';
import { readDocument } from '../payload.ts';
import { S3Error } from '../s3Error.ts';
import { childText } from '../xml.ts';
import { parseDocument } from './document.ts';

// S3 API reference, DeleteObjects: up to 1,000 keys a request.
const MAX_KEYS = 1000;
// 1,000 keys of 1,024 bytes, each byte written as a reference, and the elements around them.
const MAX_DOCUMENT_BYTES = 8 * 1024 * 1024;

export const deleteObjects: Action = async (storage, request, response) => {
  const document = parseDocument('Delete', await readDocument(request, MAX_DOCUMENT_BYTES));
  const entries = document.children.filter((child) => child.name === 'Object');
  const keys = entries.map((entry) => {
    const unknown = entry.children.find((child) => child.name !== 'Key');
    if (unknown) throw new S3Error('NotImplemented', `DeleteObjects with ${unknown.name} is not implemented.`);
    return childText(entry, 'Key') ?? '';
  });
  if (keys.length === 0 || keys.length > MAX_KEYS || keys.includes(''))
    throw new S3Error('MalformedXML', `Between 1 and ${MAX_KEYS} keys are wanted.`);
  const freed = keys.flatMap((key) => storage.index.remove({ bucket: request.bucket, key }, () => undefined));
  await storage.bodies.remove(freed);
  const quiet = childText(document, 'Quiet') === 'true';
  answerXml(response, 'DeleteResult', quiet ? {} : { Deleted: keys.map((key) => ({ Key: key })) });
};
