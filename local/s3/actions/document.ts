import { S3Error } from '../s3Error.ts';
import { parseXml, type XmlElement, XmlMalformed } from '../xml.ts';

/** The document that an action takes, by its root element. */
export function parseDocument(root: string, text: string): XmlElement {
  try {
    const document = parseXml(text);
    if (document.name === root) return document;
  } catch (error) {
    if (!(error instanceof XmlMalformed)) throw error;
  }
  throw new S3Error(
    'MalformedXML',
    'The XML you provided was not well-formed or did not validate against our published schema',
  );
}
