import type { Random } from '../support/random.ts';

/** What has broken parsers before: each is put in, or takes the place of a token of the input's JSON. */
const ODD = [
  '\ufeff',
  '\u0000',
  '\u2028',
  '\ud800',
  '\\ud800',
  '\\udc00\\ud800',
  '\\u0000',
  '"\\u0041\\/\\b"',
  '1e999',
  '-0',
  '-0.0',
  '1.10',
  '1E+2',
  '0.00000012',
  '9007199254740993',
  '12345678901234567890',
  '"__proto__"',
  '{"__proto__":{"polluted":true}}',
  '"constructor":{"prototype":{"polluted":true}},',
  '"a":1,"a":2,',
  '"model":"default","model":"default",',
  '\r\n',
  '\n',
  '[[[[[[[[',
  '{"a":{"a":{"a":',
  '[]',
  '{}',
  'null',
  'true',
  '""',
  '\\',
  '"',
  ',',
  '<script>',
  '%00',
  '../',
  'e\u0301',
  '\u{1f600}',
].map((text) => Buffer.from(text));
/** Bytes that are no UTF-8: a lone surrogate as CESU-8 has it, an overlong slash, a cut character, a byte of none. */
const BROKEN = [[0xed, 0xa0, 0x80], [0xc0, 0xaf], [0xe2, 0x82], [0xff], [0xf8, 0x88, 0x80, 0x80, 0x80]].map((bytes) =>
  Buffer.from(bytes),
);
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/g;
const MOST_CHANGES = 4;
const LONGEST_RUN_BYTES = 40;

/** A few changes of one of these: of its bytes, or of a token of its JSON. The same for the same state of `random`. */
export function mutate(random: Random, seeds: readonly Buffer[]): Buffer {
  let bytes = random.pick(seeds);
  for (let left = random.int(1, MOST_CHANGES); left > 0; left--) bytes = change(random, bytes, seeds);
  return bytes;
}

function change(random: Random, bytes: Buffer, seeds: readonly Buffer[]): Buffer {
  const at = random.int(0, bytes.length);
  const end = Math.min(bytes.length, at + random.int(1, LONGEST_RUN_BYTES));
  switch (random.weighted({ flip: 2, drop: 2, repeat: 1, cut: 1, insert: 3, broken: 1, splice: 1, token: 6 })) {
    case 'flip': {
      const flipped = Buffer.from(bytes);
      if (at < flipped.length) flipped[at] = (flipped[at] ?? 0) ^ (1 << random.int(0, 7));
      return flipped;
    }
    case 'drop':
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
    case 'repeat':
      return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]);
    case 'cut':
      return bytes.subarray(0, at);
    case 'insert':
      return Buffer.concat([bytes.subarray(0, at), random.pick(ODD), bytes.subarray(at)]);
    case 'broken':
      return Buffer.concat([bytes.subarray(0, at), random.pick(BROKEN), bytes.subarray(at)]);
    case 'splice': {
      const other = random.pick(seeds);
      return Buffer.concat([bytes.subarray(0, at), other.subarray(random.int(0, other.length))]);
    }
    case 'token':
      return replaceToken(random, bytes);
  }
}

/** One character a byte, so that what is no UTF-8 stays as it is. */
function replaceToken(random: Random, bytes: Buffer): Buffer {
  const text = bytes.toString('latin1');
  const tokens = [...text.matchAll(TOKEN)];
  if (tokens.length === 0) return bytes;
  const { index, 0: token } = random.pick(tokens);
  const odd = random.pick(ODD).toString('latin1');
  // Inside of a string, or in the place of the whole token.
  const inside = token.startsWith('"') && random.chance(0.4);
  const replaced = inside ? `${token.slice(0, -1)}${odd.replaceAll('"', '')}"` : odd;
  return Buffer.from(text.slice(0, index) + replaced + text.slice(index + token.length), 'latin1');
}
