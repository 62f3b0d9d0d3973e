import { describe, expect, it } from 'vitest';
import { bodyWithModel, readWrittenCall } from '../../../shared/domain/lines/writtenCall.ts';

const read = (line: string) => {
  const content = Buffer.from(line);
  return { content, call: readWrittenCall(content, content.toString('latin1')) };
};
const NEW_MODEL = Buffer.from('"new"');
const sentOf = (line: string): string | undefined => {
  const { content, call } = read(line);
  return call && bodyWithModel(content, call, NEW_MODEL).toString();
};
const line = (body: string, more = '') =>
  `{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":${body}${more}}`;

describe('a line that is read by its text', () => {
  it('sends its body as it stands, but for the model', () => {
    const body =
      '{ "seed":12345678901234567890,\t"model" : "old" , "messages":[{"content":"\\"}, \\\\"}], "x":{"model":1} }';
    expect(sentOf(line(body))).toBe(body.replace('"old"', '"new"'));
    expect(read(line(body)).call).toMatchObject({ customId: 'a', endpoint: 'chat/completions', model: 'old' });
  });

  it('counts bytes, not characters, and reads ids as JSON does', () => {
    const { call } = read('{"custom_id":"ü\\u00e9\\n😀","url":"/v1/responses","body":{"input":"äöü","model":"mödel"}}');
    expect(call).toMatchObject({ customId: 'üé\n😀', endpoint: 'responses', model: 'mödel' });
    expect(sentOf(line('{"x":"äöü 😀","model":"mödel","y":"é"}'))).toBe('{"x":"äöü 😀","model":"new","y":"é"}');
  });

  it('takes the last of what comes twice, and replaces each model', () => {
    const twice = line('{"model":"a","model":"b"}', ',"custom_id":"last","body":{"model":"c","model":"d"}');
    expect(read(twice).call).toMatchObject({ customId: 'last', model: 'd' });
    expect(sentOf(twice)).toBe('{"model":"new","model":"new"}');
  });

  it.each(['""', '[{"model":"no"}]', 'null', '5'])('takes the last body where the first is %s', (first) => {
    const text = `{"body":${first},"mm":0,"model":"no",${line('{"model":"old"}').slice(1)}`;
    expect(read(text).call).toMatchObject({ model: 'old' });
    expect(sentOf(text)).toBe('{"model":"new"}');
    expect(read(line('{"model":"old"}', `,"body":${first}`)).call).toBeUndefined();
  });

  it('takes no heed of what only looks like a member', () => {
    const tricky = '{"messages":["\\"model\\":\\"no\\"","]}"],"models":"no","model":"old"}';
    expect(sentOf(line(tricky, ',"metadata":{"body":{"model":"no"}}'))).toBe(tricky.replace('"old"', '"new"'));
  });

  it.each([
    ['another endpoint', '{"custom_id":"a","url":"/v1/embeddings","body":{"model":"m","input":"a"}}'],
    ['an agent', '{"custom_id":"a","url":"/agents/a/invoke","body":{"input":"a"}}'],
    ['a url with escapes', '{"custom_id":"a","url":"\\/v1\\/completions","body":{"model":"m","prompt":"a"}}'],
    ['a name with escapes', line('{"model":"m","mod\\u0065l":"other"}')],
    ['a name with escapes outside of the body', line('{"model":"m"}', ',"b\\u006fdy":{"model":"other"}')],
    ['no model', line('{"messages":[]}')],
    ['no body', '{"custom_id":"a","url":"/v1/completions"}'],
    ['a body that is no object', line('"model"')],
    ['an id that is no string', line('{"model":"m"}', ',"custom_id":5')],
    ['no object', '[1]'],
    ['nothing that ends', line('{"model":"m').slice(0, -1)],
  ])('leaves %s to be read as a whole', (_, text) => {
    expect(read(text).call).toBeUndefined();
  });
});
