/** Roles as in PLai: every role may read its project's batches; owner and admin manage them. */
export const ROLES = ['owner', 'admin', 'member', 'viewer'] as const;
export type Role = (typeof ROLES)[number];

export function mayManage(role: Role): boolean {
  return role === 'owner' || role === 'admin';
}
