/**
 * The table of routes. The gateway's routes, the handlers' checks, the default route's 404 and 405, OpenAPI and the
 * tests are made from it. `function` is the file under `functions/http/`.
 */
export type Caller = 'anyone' | 'project' | 'operator';
/** What a project's role must allow: every role may read; owner and admin manage. */
export type Access = 'read' | 'manage';

export type Route = { method: 'GET' | 'POST' | 'DELETE'; path: string; caller: Caller; access?: Access };

export const routes = {
  listBatches: { method: 'GET', path: '/batches', caller: 'project', access: 'read' },
  createBatch: { method: 'POST', path: '/batches', caller: 'project', access: 'manage' },
  checkBatches: { method: 'GET', path: '/batches/check-batches', caller: 'operator' },
  getBatch: { method: 'GET', path: '/batches/{batch_id}', caller: 'project', access: 'read' },
  cancelBatch: { method: 'POST', path: '/batches/{batch_id}/cancel', caller: 'project', access: 'manage' },
  retryBatch: { method: 'POST', path: '/batches/{batch_id}/retry', caller: 'project', access: 'manage' },
  downloadBatch: { method: 'GET', path: '/batches/{batch_id}/download', caller: 'project', access: 'read' },
  getReceipt: { method: 'GET', path: '/batches/{batch_id}/receipt', caller: 'project', access: 'read' },
  createUpload: { method: 'POST', path: '/files', caller: 'project', access: 'manage' },
  getWebhookSecret: { method: 'GET', path: '/webhooks/secret', caller: 'project', access: 'manage' },
  rotateWebhookSecret: { method: 'POST', path: '/webhooks/secret/rotate', caller: 'project', access: 'manage' },
  createKey: { method: 'POST', path: '/keys', caller: 'operator' },
  listKeys: { method: 'GET', path: '/keys', caller: 'operator' },
  revokeKey: { method: 'DELETE', path: '/keys/{key_id}', caller: 'operator' },
  getHealth: { method: 'GET', path: '/health', caller: 'anyone' },
  getOpenApi: { method: 'GET', path: '/openapi.json', caller: 'anyone' },
} as const satisfies Record<string, Route>;

export type RouteName = keyof typeof routes;

/** The function behind the gateway's `$default`. */
export const DEFAULT_ROUTE_FUNCTION = 'noRoute';
