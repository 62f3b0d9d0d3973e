import { decodeTime } from 'ulid';

/** Ids are a kind and a ULID, so that they sort by creation. */
export const BATCH_ID = /^batch_[0-9A-HJKMNP-TV-Z]{26}$/;
export const FILE_ID = /^file_[0-9A-HJKMNP-TV-Z]{26}$/;
export const KEY_ID = /^key_[0-9A-HJKMNP-TV-Z]{26}$/;
/** When an id was made, in milliseconds since the epoch. */
export function createdAtOf(id: string): number {
  return decodeTime(id.slice(id.indexOf('_') + 1));
}

/** Project ids are the deployer's own; this keeps them usable in keys and paths. */
export const PROJECT_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

/** Names of executions: ended names are refused by Step Functions for 90 days, so each start has its own number. */
export function batchExecutionName(batchId: string, attempt: number): string {
  return `${batchId}-${attempt}`;
}

export function snapshotExecutionName(batchId: string, snapshot: number): string {
  return `${batchId}-snapshot-${snapshot}`;
}

export function notificationExecutionName(batchId: string, notification: number): string {
  return `${batchId}-notify-${notification}`;
}
