import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from 'vitest';
import { parseTarget } from '../../../local/s3/s3Request.ts';
import { createVerifier } from '../../../local/s3/signature.ts';

const credentials = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
};
const signedAt = Date.parse('2013-05-24T00:00:00Z');

function verify(method: string, target: string, headers: Record<string, string>, now = signedAt) {
  const headersDistinct = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]));
  // Of a message only its headers are read.
  const message = { headers, headersDistinct } as unknown as IncomingMessage;
  return createVerifier({ credentials, region: 'us-east-1', now: () => now })({
    method,
    message,
    ...parseTarget(target),
  });
}

describe('Signature Version 4', () => {
  const presigned =
    '/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404';
  const host = { host: 'examplebucket.s3.amazonaws.com' };

  it("accepts the S3 documentation's pre-signed example until it expires", () => {
    expect(verify('GET', presigned, host).payload).toBe('UNSIGNED-PAYLOAD');
    expect(verify('GET', presigned, host, signedAt + 86_400_000).payload).toBe('UNSIGNED-PAYLOAD');
    expect(() => verify('GET', presigned, host, signedAt + 86_400_001)).toThrow('Request has expired');
  });

  it("accepts the S3 documentation's example of a PUT signed in its header", () => {
    const headers = {
      host: 'examplebucket.s3.amazonaws.com',
      date: 'Fri, 24 May 2013 00:00:00 GMT',
      'x-amz-date': '20130524T000000Z',
      'x-amz-storage-class': 'REDUCED_REDUNDANCY',
      'x-amz-content-sha256': '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072',
      authorization:
        'AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
    };
    expect(verify('PUT', '/test%24file.text', headers).scope).toBe('20130524/us-east-1/s3/aws4_request');
    const skewed = signedAt + 15 * 60_000 + 1;
    expect(() => verify('PUT', '/test%24file.text', headers, skewed)).toThrow('too large');
    expect(() => verify('PUT', '/test%24file.text', { ...headers, 'x-amz-acl': 'public-read' })).toThrow('not signed');
    expect(() => verify('PUT', '/other', headers)).toThrow('does not match');
  });

  it.each([
    ['another method', 'DELETE', presigned],
    ['another key', 'GET', presigned.replace('test.txt', 'other.txt')],
    ['a longer expiry', 'GET', presigned.replace('86400', '86401')],
    ['a further parameter', 'GET', `${presigned}&response-content-type=text/html`],
    ['another signature', 'GET', presigned.replace('aeeed9', 'aeeed8')],
  ])('refuses a pre-signed URL with %s', (_, method, target) => {
    expect(() => verify(method, target, host)).toThrow(expect.objectContaining({ code: 'SignatureDoesNotMatch' }));
  });

  it('refuses another host, an unknown key id, another region and no signature at all', () => {
    expect(() => verify('GET', presigned, { host: 'elsewhere' })).toThrow('does not match');
    expect(() => verify('GET', presigned.replace('AKIAIO', 'AKIAXX'), host)).toThrow('does not exist in our records');
    expect(() => verify('GET', presigned.replace('us-east-1', 'eu-west-1'), host)).toThrow("expecting 'us-east-1'");
    expect(() => verify('GET', '/test.txt', host)).toThrow('Access Denied');
  });

  it('refuses two ways of signing at once, as S3 does after a redirect that kept the header', () => {
    expect(() => verify('GET', presigned, { ...host, authorization: 'Bearer token' })).toThrow(
      'Only one auth mechanism',
    );
  });

  it('refuses an expiry over a week', () => {
    expect(() => verify('GET', presigned.replace('86400', '604801'), host)).toThrow('a week');
  });
});
