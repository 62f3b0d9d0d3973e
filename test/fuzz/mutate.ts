import type { Random } from '../support/random.ts';

/** Nothing larger is made: what needs size is a recipe among a target's seeds. */
const MAX_BYTES = 8_192;

/** What parsers and writers of JSON lines have been seen to trip over. */
const TOKENS: readonly Buffer[] = [
  ...['\ufeff', '\0', '\u2028', '\u2029', '\ud83d\ude00', '\r\n', '\n', '\r', '\t', '\\', '"', '\\"', '\\u0000'],
  ...['\\ud800', '\\udc00', '\\ud83d\\ude00', '"\\ud800"', '\\ud83d"', '\\u2028', '\\/', '\\n', '\u007f', '\u0085'],
  ...['1e999', '-1e999', '-0', '-0.0', '1.10', '1E5', '1e-7', '0.0000001', '12345678901234567890', '9007199254740993'],
  ...['"__proto__"', '"__proto__":{"a":1},', '"constructor"', '"toString":1,', '"a":1,"a":2,', '"\\u0061":3,'],
  ...['"10":1,"2":2,', '"model":"x",', '"mod\\u0065l":"default",', '"custom_id":"x",', '"":0,', 'null', '{}', '[]'],
  ...['['.repeat(600), '{"a":'.repeat(600), '[[]]', ',', ':', '{', '}', ']', '//', 'NaN', 'undefined', '%00', '%ff'],
]
  .map((text) => Buffer.from(text))
  .concat(
    [
      // A surrogate as CESU-8 has it, an overlong slash, bytes that UTF-8 never has, both UTF-16 marks.
      ...[[0xed, 0xa0, 0x80], [0xed, 0xb0, 0x80], [0xc0, 0xaf], [0xff], [0x80], [0xf4, 0x90, 0x80, 0x80]],
      ...[
        [0xff, 0xfe],
        [0xfe, 0xff],
      ],
    ].map((bytes) => Buffer.from(bytes)),
  );

/** The same input for the same stream of chances: a seed, changed one to four times. */
export function mutate(random: Random, seeds: readonly Buffer[]): Buffer {
  let bytes = random.pick(seeds);
  // A large recipe runs as it is, at the start; copies of it would take all the time.
  while (bytes.length > MAX_BYTES) bytes = random.pick(seeds);
  for (let left = random.int(1, 4); left > 0; left--) bytes = change(random, bytes, seeds);
  return bytes.length > MAX_BYTES ? bytes.subarray(0, MAX_BYTES) : bytes;
}

function change(random: Random, bytes: Buffer, seeds: readonly Buffer[]): Buffer {
  const at = random.int(0, bytes.length);
  const to = Math.min(bytes.length, at + random.int(1, 16));
  const join = (...parts: Uint8Array[]) => Buffer.concat(parts);
  switch (random.weighted({ flip: 3, insert: 6, replace: 4, remove: 3, cut: 1, repeat: 2, splice: 2, value: 8 })) {
    case 'flip': {
      const copy = Buffer.from(bytes);
      if (copy.length > 0) copy[at % copy.length] = (copy[at % copy.length] ?? 0) ^ (1 << random.int(0, 7));
      return copy;
    }
    case 'insert':
      return join(bytes.subarray(0, at), random.pick(TOKENS), bytes.subarray(at));
    case 'replace':
      return join(bytes.subarray(0, at), random.pick(TOKENS), bytes.subarray(to));
    case 'remove':
      return join(bytes.subarray(0, at), bytes.subarray(to));
    case 'cut':
      return bytes.subarray(0, at);
    case 'repeat':
      return join(bytes.subarray(0, to), bytes.subarray(at));
    case 'splice': {
      const other = random.pick(seeds);
      const from = random.int(0, other.length);
      return join(bytes.subarray(0, at), other.subarray(from, from + random.int(1, 200)), bytes.subarray(at));
    }
    case 'value':
      return changeValue(random, bytes);
  }
}

/** Where JSON values stand in the text: scalars, and names. */
const SCALAR = /"(?:[^"\\\n]|\\.)*"|-?\d[\d.eE+-]*|\btrue\b|\bfalse\b|\bnull\b/g;

/** Another value in the place of one, so that the text stays JSON and gets past the parser. */
function changeValue(random: Random, bytes: Buffer): Buffer {
  const text = bytes.toString('latin1');
  const places = [...text.matchAll(SCALAR)];
  if (places.length === 0) return bytes;
  const { index, 0: found } = random.pick(places);
  const isName = /^\s*:/.test(text.slice(index + found.length));
  const value = isName ? `${aString(random)}:${aValue(random, 2)},${found}` : aValue(random, 3);
  return Buffer.concat([bytes.subarray(0, index), Buffer.from(value), bytes.subarray(index + found.length)]);
}

function aString(random: Random): string {
  const parts = [
    'a',
    '10',
    '__proto__',
    'model',
    '\\ud800',
    '\\udc00',
    'é',
    '😀',
    '\u2028',
    '\\u0000',
    '\\n',
    '\\\\',
    '}',
  ];
  return `"${Array.from({ length: random.int(0, 3) }, () => random.pick(parts)).join('')}"`;
}

function aNumber(random: Random): string {
  const digits = () => Array.from({ length: random.int(1, 24) }, () => random.int(0, 9)).join('');
  const whole = random.chance(0.5) ? `${random.int(1, 9)}${digits()}` : `${random.int(0, 9)}`;
  const fraction = random.chance(0.4) ? `.${digits()}` : '';
  return `${random.pick(['', '-'])}${whole}${fraction}${random.pick(['', '', '', 'e3', 'E+2', 'e-9', 'e400'])}`;
}

function aValue(random: Random, depth: number): string {
  const list = (one: () => string) =>
    Array.from({ length: random.int(0, 4) }, one).join(random.pick([',', ' , ', ',\t']));
  switch (random.weighted({ text: 3, number: 5, word: 1, array: depth > 0 ? 2 : 0, object: depth > 0 ? 3 : 0 })) {
    case 'text':
      return aString(random);
    case 'number':
      return aNumber(random);
    case 'word':
      return random.pick(['null', 'true', 'false']);
    case 'array':
      return `[${list(() => aValue(random, depth - 1))}]`;
    case 'object':
      return `{${list(() => `${aString(random)}: ${aValue(random, depth - 1)}`)}}`;
  }
}
