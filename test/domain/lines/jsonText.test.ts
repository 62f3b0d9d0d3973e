import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bodyAsWritten, elementTexts, memberTexts, withMember } from '../../../shared/domain/lines/jsonText.ts';

const digits = (minLength: number) => fc.string({ unit: fc.constantFrom(...'0123456789'), minLength, maxLength: 22 });
/** Any number text that JSON knows. */
const numberText = fc
  .tuple(
    fc.constantFrom('', '-'),
    fc.oneof(
      fc.constant('0'),
      fc.tuple(fc.constantFrom(...'123456789'), digits(0)).map(([a, b]) => a + b),
    ),
    fc.oneof(
      fc.constant(''),
      digits(1).map((text) => `.${text}`),
      fc.nat(12).map((n) => `.${'0'.repeat(n)}1`),
    ),
    fc.oneof(
      { weight: 3, arbitrary: fc.constant('') },
      { weight: 1, arbitrary: fc.tuple(fc.constantFrom('e', 'E', 'e+', 'E-'), digits(1)).map(([a, b]) => a + b) },
    ),
  )
  .map((pieces) => pieces.join(''));

/** Compact JSON text of any shape, with such numbers; names may repeat. */
const { json: anyJson } = fc.letrec<{ json: string }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 4 },
    numberText,
    fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)),
    fc.constantFrom('true', 'false', 'null', '"\\\\"', '"\\\\\\""'),
    fc.array(tie('json'), { maxLength: 5 }).map((items) => `[${items.join(',')}]`),
    fc
      .array(fc.tuple(fc.string({ maxLength: 3 }), tie('json')), { maxLength: 5 })
      .map((members) => `{${members.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`),
  ),
}));
const space = fc.string({ unit: fc.constantFrom(' ', '\t', '\r'), maxLength: 2 });

describe('a body as it was written', () => {
  it('is its text, whatever stands in it', () => {
    fc.assert(
      fc.property(numberText, (number) => {
        const body = `{ "2":${number}, "1":"\\u0041\\/", "a":1,"a":2 }`;
        expect(bodyAsWritten(`{"custom_id":"a","body":${body}}`)).toBe(body);
      }),
      { numRuns: 500 },
    );
  });

  it('is the last body of the line', () => {
    expect(bodyAsWritten('{"body":{"a":1.0},"x":{"body":2}, "body" : {"a":2.0} }')).toBe('{"a":2.0}');
  });
});

describe('JSON by its text', () => {
  it('has the elements and members that JSON.parse finds, each as it stands', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string({ unit: 'binary' }), anyJson)), space, (members, gap) => {
        const array = `${gap}[${members.map(([, value]) => gap + value + gap).join(',')}]${gap}`;
        expect(elementTexts(array)).toEqual(members.map(([, value]) => value));
        const text = members.map(([name, value]) => `${gap}${JSON.stringify(name)}${gap}:${gap}${value}${gap}`);
        expect(memberTexts(`{${text.join(',')}}`)).toEqual(new Map(members));
      }),
    );
  });

  it('takes another value under a name, and leaves the rest as it is', () => {
    fc.assert(
      fc.property(anyJson, anyJson, space, (before, after, gap) => {
        const object = (value: string) => `{"a":${before},${gap}"model"${gap}:${gap}${value}${gap},"z":${after}}`;
        expect(withMember(object('"x"'), 'model', '"y"')).toBe(object('"y"'));
      }),
    );
  });
});
