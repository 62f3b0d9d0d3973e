/** What an element holds: text, named children, or (an array) the element once for each entry. */
export type XmlContent = string | number | boolean | { [name: string]: XmlContent | XmlContent[] | undefined };

const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

// Control characters are written as references, as S3 does: not XML 1.0, which is what encoding-type=url is for.
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
const TO_ESCAPE = /[&<>"\u0000-\u0008\u000b-\u001f]/g;

const escapeText = (text: string) =>
  text.replace(TO_ESCAPE, (character) => ESCAPES[character] ?? `&#x${character.charCodeAt(0).toString(16)};`);

function element(name: string, content: XmlContent): string {
  if (typeof content !== 'object') return `<${name}>${escapeText(String(content))}</${name}>`;
  return `<${name}>${children(content)}</${name}>`;
}

function children(content: { [name: string]: XmlContent | XmlContent[] | undefined }): string {
  let text = '';
  for (const [name, child] of Object.entries(content)) {
    if (child === undefined) continue;
    if (Array.isArray(child)) for (const entry of child) text += element(name, entry);
    else text += element(name, child);
  }
  return text;
}

/** A document in S3's namespace (an Error has none). */
export function xmlDocument(root: string, content: { [name: string]: XmlContent | XmlContent[] | undefined }): string {
  const namespace = root === 'Error' ? '' : ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${root}${namespace}>${children(content)}</${root}>`;
}

export type XmlElement = { name: string; text: string; children: XmlElement[] };

export class XmlMalformed extends Error {
  override readonly name = 'XmlMalformed';
}

const NAMED: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function unescapeText(text: string): string {
  return text.replace(/&([^;]*);/g, (_, reference: string) => {
    const named = NAMED[reference];
    if (named !== undefined) return named;
    const number = /^#(?:x([0-9a-f]+)|([0-9]+))$/i.exec(reference);
    if (!number) throw new XmlMalformed(`unknown entity ${reference}`);
    const codePoint = number[1] === undefined ? Number(number[2]) : Number.parseInt(number[1], 16);
    if (codePoint > 0x10ffff) throw new XmlMalformed(`unknown entity ${reference}`);
    return String.fromCodePoint(codePoint);
  });
}

/**
 * Reads the small documents that S3's clients send. Elements and text only: attributes are passed over, and document
 * types, comments and CDATA are refused, so no entity can be declared.
 */
export function parseXml(source: string): XmlElement {
  const root: XmlElement = { name: '', text: '', children: [] };
  const open: XmlElement[] = [root];
  for (const [token, tag] of source.matchAll(/<([^>]*)>|[^<]+|</g)) {
    const current = open.at(-1) ?? root;
    if (tag === undefined) {
      if (token === '<') throw new XmlMalformed('a tag is not closed');
      current.text += unescapeText(token);
    } else if (tag.startsWith('/')) {
      if (open.length < 2 || current.name !== tag.slice(1).trim()) throw new XmlMalformed(`unexpected </${tag}>`);
      open.pop();
    } else if (tag.startsWith('!')) {
      throw new XmlMalformed('only elements and text are read');
    } else if (!tag.startsWith('?')) {
      const name = /^[^\s/]+/.exec(tag)?.[0];
      if (name === undefined) throw new XmlMalformed(`no name in <${tag}>`);
      const child: XmlElement = { name, text: '', children: [] };
      current.children.push(child);
      if (!tag.endsWith('/')) open.push(child);
    }
  }
  const [document] = root.children;
  if (open.length !== 1 || !document || root.children.length !== 1) throw new XmlMalformed('not one whole document');
  return document;
}

/** Text of the first child of that name. */
export const childText = (parent: XmlElement, name: string): string | undefined =>
  parent.children.find((child) => child.name === name)?.text;
