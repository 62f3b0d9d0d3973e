import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PLAIN_BODIES } from '../../../shared/domain/lines/plainBodies.ts';
import { BODY_SCHEMAS } from '../../../shared/domain/lines/requestBodies.ts';

type Kind = keyof typeof BODY_SCHEMAS;
type Json = fc.Arbitrary<string>;

/** What stands where something else is expected: JSON by its text, which has more than a JavaScript value has. */
const odd: Json = fc.oneof(
  fc.constantFrom('null', 'true', 'false', '0', '-0', '1e999', '-1e999', '12345678901234567890', '1.10'),
  fc.constantFrom(
    '""',
    '"x"',
    '"\\ud800"',
    '"\\u0000"',
    '"\ud83d"',
    '[]',
    '{}',
    '[null]',
    '[[]]',
    '[{}]',
    '["", 1e999]',
  ),
  fc.constantFrom('{"role":1}', '[{"role":null}]', '{"length":1}', '{"__proto__":{"role":"user"}}', '{"text":""}'),
  fc.json({ maxDepth: 2 }),
);
const maybe = (usual: Json): Json => fc.oneof({ weight: 9, arbitrary: usual }, { weight: 1, arbitrary: odd });
const one = (...texts: string[]): Json => maybe(fc.constantFrom(...texts));
const list = (item: Json): Json => maybe(fc.array(item, { maxLength: 3 }).map((items) => `[${items.join()}]`));

/** An object with these fields, nearly always all that must be there; now and then one twice, or one nobody knows. */
function object(must: Record<string, Json>, may: Record<string, Json> = {}): Json {
  const names = [...Object.keys(must), ...Object.keys(may), '__proto__', 'constructor', 'toString', 'x'];
  const extra = fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(fc.tuple(fc.constantFrom(...names), odd), { maxLength: 2 }) },
  );
  const field =
    (present: number, absent: number) =>
    ([name, json]: [string, Json]) =>
      fc.oneof(
        { weight: present, arbitrary: json.map((text): [string, string] => [name, text]) },
        { weight: absent, arbitrary: fc.constant(null) },
      );
  return fc
    .tuple(
      extra,
      ...Object.entries(must).map(field(20, 1)),
      ...Object.entries(may).map(field(1, 3)),
      fc.boolean().map(() => null),
    )
    .chain(([twice, ...fields]) => {
      const present = [...fields.filter((entry) => entry !== null), ...twice];
      return fc.shuffledSubarray(present, { minLength: present.length });
    })
    .map((entries) => `{${entries.map(([name, text]) => `${JSON.stringify(name)}:${text}`).join()}}`);
}

const off = one('null', 'false', 'true');
const text = one('"Hi"', '"Grüße 🎈"', '""', '"\\ud800"');
const number = one('1', '-0', '0.1', '2', '1e-7', '12345678901234567890', '1e999');
const numbers = fc.array(number, { maxLength: 2 }).map((items) => `[${items.join()}]`);
const modelCall = { model: one('"default"', '"gpt-9"', '"__proto__"', '""') };
const textOrList = one('"Hi"', '["a","b"]', '[[1,2]]', '[]', '""');
const variable = object({ name: text, value: one('"a"', '1', 'true', '1e999') }, { key: text });
const vector = object(
  { id: text, values: maybe(fc.oneof(fc.constant('[]'), numbers)) },
  {
    metadata: one('{"text":"Hi"}', '{"text":"Hi","n":[1]}', '{"text":"é"}', '{"text":""}', 'null'),
  },
);
const BODIES: Record<Kind, Json> = {
  agent: object(
    { input: text },
    {
      ...{ show_tool_calls: off, enable_streaming: off, stream: off, thread_id: one('null', '"t"', '{}', '[]') },
      ...{ enabled_tools: one('null', '[]', '["a"]'), metadata_filter: one('null', '{}', '{"a":1}') },
      output_schema: one('null', '"{}"', '"{"', '{}'),
      documents: one('null', '[]', '[{"type":"pdf","url":"https://a.b/c"}]', '[{"type":"mp3","url":"x"}]'),
      variables: list(variable),
    },
  ),
  vectors: object({ vectors: list(vector) }, { stream: off }),
  'chat/completions': object(
    { ...modelCall, messages: list(object({ role: one('"user"', '""'), content: text })) },
    { stream: off, tools: one('[]', '[{}]') },
  ),
  completions: object({ ...modelCall, prompt: textOrList }, { stream: off }),
  responses: object({ ...modelCall, input: textOrList }, { stream: off, background: off, prompt: one('{"id":"p"}') }),
  embeddings: object({ ...modelCall, input: textOrList }, { stream: off }),
};

describe('the quick look at a body', () => {
  it.each(Object.entries(BODIES) as [Kind, Json][])(
    'lets nothing through that the schema of %s refuses',
    (kind, json) => {
      let plain = 0;
      let refused = 0;
      fc.assert(
        fc.property(json, (source) => {
          const body: unknown = JSON.parse(source);
          // Who calls it has seen that it is an object.
          if (typeof body !== 'object' || body === null || Array.isArray(body)) return;
          const passes = BODY_SCHEMAS[kind].safeParse(body).success;
          if (!passes) refused++;
          if (!PLAIN_BODIES[kind](body as Record<string, unknown>)) return;
          plain++;
          expect(passes, source).toBe(true);
        }),
        { numRuns: 4_000, seed: 20_260_115 },
      );
      // Else nothing was tried.
      expect(plain).toBeGreaterThan(100);
      expect(refused).toBeGreaterThan(100);
    },
  );

  it.each<[Kind, object]>([
    ['agent', { input: 'Hi', thread_id: null, stream: false, variables: [{ name: 'city', value: 'Köln' }] }],
    [
      'vectors',
      {
        vectors: [
          { id: 'a', values: [], metadata: { text: 'Hi', n: [1] } },
          { id: 'b', values: [1.5, -2] },
        ],
      },
    ],
    ['chat/completions', { model: 'm', messages: [{ role: 'user', content: 'Hi' }], stream: false, tools: [{}] }],
    ['completions', { model: 'm', prompt: 'Hi' }],
    ['responses', { model: 'm', input: [{ role: 'user', content: 'Hi' }], background: null }],
    ['embeddings', { model: 'm', input: ['a', 'b'] }],
  ])('is enough for a usual body of %s', (kind, body) => {
    expect(PLAIN_BODIES[kind]({ ...body })).toBe(true);
  });
});
