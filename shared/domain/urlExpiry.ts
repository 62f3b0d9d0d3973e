/**
 * When a URL that is pre-signed at `now` stops working, in milliseconds since the epoch, at the earliest. Signatures
 * count from the whole second in which they are made: X-Amz-Date has no fraction
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html).
 */
export function urlExpiry(now: number, expiresSeconds: number): number {
  return (Math.floor(now / 1000) + expiresSeconds) * 1000;
}
