import * as z from 'zod';
import { text, webUrlProblem } from './fields.ts';

const Claim = text(1, 256);

/** Whose bearer tokens (JWT) a stage takes: an identity provider's. */
export const TokensSchema = z.strictObject({
  /** `iss`, letter for letter. */
  issuer: text(1, 2048),
  /** Where the issuer shows its keys (its `jwks_uri`). */
  jwksUrl: z.string(),
  /** `aud`, or one of them: a name of this API alone, or tokens made for others would open it. */
  audience: text(1, 2048),
  /** Claims that hold the project's id and the role. Each is one key, whatever dots and slashes are in it. */
  projectClaim: Claim.default('project_id'),
  roleClaim: Claim.default('role'),
});
export type TokenSettings = z.output<typeof TokensSchema>;

/** The key set is read by the rules of the stage: over https from a public address, unless private ones are allowed. */
export function checkJwksUrl(
  { tokens, allowPrivateNetworks }: { tokens?: TokenSettings | undefined; allowPrivateNetworks: boolean },
  context: z.core.$RefinementCtx,
): void {
  const problem = tokens && webUrlProblem(tokens.jwksUrl, allowPrivateNetworks);
  if (problem !== undefined) context.addIssue({ code: 'custom', path: ['tokens', 'jwksUrl'], message: problem });
}
