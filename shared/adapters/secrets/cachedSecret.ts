import { GetSecretValueCommand, type SecretsManagerClient } from '@aws-sdk/client-secrets-manager';

/** One that is refused is read again, but not more often than this: it may well be the wrong one. */
const MIN_AGE_MS = 10_000;

/**
 * What `read` answers, and again once it is older than `maxAgeMs`, so that a rotated secret is met without a
 * deployment; or sooner where it is `refused`. Callers at the same time share one request; a failed one is not kept.
 */
export function cachedSecret<T>(options: {
  read: () => Promise<T>;
  maxAgeMs: number;
  now?: () => number;
}): (refused?: T) => Promise<T> {
  const { read, maxAgeMs, now = Date.now } = options;
  let cached: { readAt: number; value: Promise<T> } | undefined;

  function readAnew(): Promise<T> {
    const mine = { readAt: now(), value: read() };
    cached = mine;
    mine.value.catch(() => {
      if (cached === mine) cached = undefined;
    });
    return mine.value;
  }

  return async (refused) => {
    const standing = cached;
    if (!standing || now() - standing.readAt >= maxAgeMs) return readAnew();
    if (refused === undefined || (await standing.value) !== refused) return standing.value;
    // Others may have read it again meanwhile.
    if (cached && cached !== standing) return cached.value;
    return now() - standing.readAt < MIN_AGE_MS ? refused : readAnew();
  };
}

/** The text of a secret's version, and when that was made. A newline at its end is no part of it. */
export async function readSecret(
  client: SecretsManagerClient,
  secretArn: string,
  stage: 'AWSCURRENT' | 'AWSPREVIOUS' = 'AWSCURRENT',
): Promise<{ text: string; madeAt: number }> {
  const answer = await client.send(new GetSecretValueCommand({ SecretId: secretArn, VersionStage: stage }));
  // Where it came from a file or a pipe; in a header no key could have it.
  const text = answer.SecretString?.trimEnd();
  if (!text) throw new Error(`The secret ${secretArn} holds no text.`);
  return { text, madeAt: answer.CreatedDate?.getTime() ?? 0 };
}
