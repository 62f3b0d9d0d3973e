import { errors, jwtVerify } from 'jose';
import * as z from 'zod';
import { ProjectId } from '../../contract/fields.ts';
import type { TokenSettings } from '../../contract/tokenSettings.ts';
import { ROLES } from '../../domain/roles.ts';
import type { Log, TokenVerifier } from '../../ports.ts';
import { createKeySet } from './keySet.ts';

/** What issuers sign with by default. Named here and nowhere by the token: `none` and HS256 are never looked at. */
const ALGORITHMS = ['RS256', 'ES256'];
/** How far the issuer's clock may be from ours. */
const SKEW_SECONDS = 60;
/** HTTP API takes 10 KB of headers in all; nothing longer is parsed. */
const MAX_TOKEN_CHARACTERS = 8192;

const RoleClaim = z.enum(ROLES);

/** Verifies JWTs of the stage's issuer. `read` gets its key set. */
export function createTokenVerifier(options: {
  tokens: TokenSettings;
  read: () => Promise<unknown>;
  log: Log;
  now?: () => number;
}): TokenVerifier {
  const { tokens, read, log, now = Date.now } = options;
  const { issuer, audience, projectClaim, roleClaim } = tokens;
  const keySet = createKeySet({ read, log, now });

  /** For whoever connects the issuer: what is wrong by its kind, and nothing of what the token says. */
  function refuse(reason: string): undefined {
    log.info('token refused', { reason });
  }

  return {
    async verify(token) {
      if (token.length > MAX_TOKEN_CHARACTERS) return refuse('too_long');
      const claims = await verifiedClaims(token);
      if (typeof claims === 'string') return refuse(claims);
      const projectId = ProjectId.safeParse(ownClaim(claims, projectClaim)).data;
      if (projectId === undefined) return refuse('project_claim');
      const role = RoleClaim.safeParse(ownClaim(claims, roleClaim)).data;
      if (role === undefined) return refuse('role_claim');
      return { projectId, role };
    },
  };

  /** The claims of a token that holds, or why it does not. */
  async function verifiedClaims(token: string): Promise<Record<string, unknown> | string> {
    try {
      const { payload } = await jwtVerify(token, keySet, {
        algorithms: ALGORITHMS,
        issuer,
        audience,
        requiredClaims: ['exp'],
        clockTolerance: SKEW_SECONDS,
        currentDate: new Date(now()),
      });
      return payload;
    } catch (error) {
      if (error instanceof errors.JWTClaimValidationFailed) return `claim_${error.claim}`;
      // Every fault of a token is one of jose's own; anything else is ours, or the issuer's.
      if (error instanceof errors.JOSEError) return error.code;
      throw error;
    }
  }
}

/** A name is one key of the claims, dots, slashes and colons included: `https://acme.example/project`. */
function ownClaim(claims: Record<string, unknown>, name: string): unknown {
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}
