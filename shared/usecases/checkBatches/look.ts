import type { CheckReason } from '../../contract/checkView.ts';
import type { Settings } from '../../contract/settings.ts';
import type { BatchStatus } from '../../domain/batchStatus.ts';
import type { Ports } from '../../ports.ts';

export type CheckDeps = Pick<Ports, 'batches' | 'shards' | 'controls' | 'workflow' | 'clock' | 'log'> & {
  settings: Settings;
};

/** What a look at one batch did. */
export type Look =
  | { did: 'unchanged' }
  | {
      did: 'expired' | 'recovered' | 'failed' | 'notified';
      id: string;
      from: BatchStatus;
      to: BatchStatus;
      reason: CheckReason;
    };
