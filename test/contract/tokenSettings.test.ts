import { describe, expect, it } from 'vitest';
import { SettingsSchema } from '../../shared/contract/settings.ts';

describe('the settings of an identity provider', () => {
  const tokens = { issuer: 'https://issuer.example/', jwksUrl: 'https://issuer.example/jwks', audience: 'batch-api' };
  const problems = (changed: object, stage: object = {}) =>
    SettingsSchema.safeParse({ ...stage, tokens: { ...tokens, ...changed } }).error?.issues.map(
      ({ path, message }) => `${path.join('.')} ${message}`,
    );

  it('may be left out, and have names of claims to begin with', () => {
    expect(SettingsSchema.parse({}).tokens).toBeUndefined();
    expect(SettingsSchema.parse({ tokens }).tokens).toMatchObject({ projectClaim: 'project_id', roleClaim: 'role' });
  });

  it.each(['http://issuer.example/jwks', 'issuer.example/jwks', 'file:///etc/passwd', ''])(
    'must name a key set on https, not %j',
    (jwksUrl) => {
      expect(problems({ jwksUrl })).toEqual(['tokens.jwksUrl must be https://…']);
    },
  );

  it.each(['https://127.0.0.1/jwks', 'https://[::1]/jwks', 'https://localhost/jwks', 'https://10.0.0.1/jwks'])(
    'must name a key set on a public address, not %s',
    (jwksUrl) => {
      expect(problems({ jwksUrl })).toEqual([expect.stringContaining('tokens.jwksUrl must not name the host')]);
      expect(problems({ jwksUrl }, { allowPrivateNetworks: true })).toBeUndefined();
    },
  );

  it('may name one on plain http where private networks are allowed', () => {
    expect(problems({ jwksUrl: 'http://127.0.0.1:8080/jwks' }, { allowPrivateNetworks: true })).toBeUndefined();
  });

  it.each(['issuer', 'audience', 'projectClaim', 'roleClaim', 'jwksUri'])('are refused where %s is empty', (name) => {
    expect(problems({ [name]: '' })).toEqual([
      expect.stringContaining(name === 'jwksUri' ? 'jwksUri' : `tokens.${name}`),
    ]);
  });
});
