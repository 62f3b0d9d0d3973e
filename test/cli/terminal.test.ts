import { describe, expect, test } from 'vitest';
import { bytesText, fieldsText, printable, shortened, tableText } from '../../cli/terminal.ts';

describe('what others wrote', () => {
  test('cannot steer the terminal', () => {
    expect(printable('a\u001b[31mred\u001b[0m\r\nb\u202ec\u0007')).toBe('ared b c');
  });

  test('takes one line and no more room than it may', () => {
    expect(shortened('one\ntwo', 20)).toBe('one two');
    expect(shortened('😀😀😀😀', 3)).toBe('😀😀…');
  });
});

test('a table is as wide as what is in it, up to the bound of each column', () => {
  const text = tableText(
    [
      { head: 'NAME', text: ({ name }) => name, maxCharacters: 6 },
      { head: 'LINES', text: ({ lines }) => String(lines), align: 'right' },
    ],
    [
      { name: 'a', lines: 7 },
      { name: 'long name', lines: 12_345 },
    ],
  );
  expect(text).toBe(['NAME    LINES', 'a           7', 'long …  12345'].join('\n'));
});

test('fields stand under each other', () => {
  expect(
    fieldsText([
      ['id', '1'],
      ['status', 'completed'],
    ]),
  ).toBe('id      1\nstatus  completed');
});

test.each([
  [0, '0 bytes'],
  [999, '999 bytes'],
  [1_000, '1.0 KB'],
  [5_368_709_120, '5.4 GB'],
])('%i bytes read as %s', (bytes, text) => {
  expect(bytesText(bytes)).toBe(text);
});
