import { describe, expect, test } from 'vitest';
import { fails, INPUTS, to } from '../runs.ts';
import type { Stage } from '../stage.ts';

/** The two machines of one step each. */
export function loopMachinesSuite(stage: () => Stage): void {
  describe('the notification machine', () => {
    test('ends when the receiver has answered', async () => {
      const played = await stage().play('notification', INPUTS.notification, {
        notifyReceiver: to('end', { waitSeconds: 0 }),
      });
      expect(played).toMatchObject({ status: 'SUCCEEDED', path: ['Notify', 'AfterNotify', 'Notified'], waits: [] });
    });

    test('waits between attempts as long as each says', async () => {
      const wait = (waitSeconds: number) => to('wait', { waitSeconds });
      const played = await stage().play('notification', INPUTS.notification, {
        notifyReceiver: [wait(5), wait(300), wait(86_400), to('end', { waitSeconds: 0 })],
      });
      expect(played).toMatchObject({ status: 'SUCCEEDED', waits: [5, 300, 86_400] });
      expect(played.path.slice(0, 4)).toEqual(['Notify', 'AfterNotify', 'WaitForReceiver', 'Notify']);
      expect(played.calls).toHaveLength(4);
    });

    test('fails with its step, and the check starts another one', async () => {
      const played = await stage().play('notification', INPUTS.notification, {
        notifyReceiver: fails('StoredRecordInvalid'),
      });
      expect(played).toMatchObject({ status: 'FAILED', error: 'StoredRecordInvalid', path: ['Notify'] });
    });
  });

  describe('the snapshot machine', () => {
    test('goes on with its checkpoint until the snapshot is taken', async () => {
      const checkpoint = 'snapshots/project/batch_1/1.checkpoint';
      const played = await stage().play('snapshot', INPUTS.snapshot, {
        snapshotBatch: [to('snapshot', { checkpoint }), to('snapshot', { checkpoint }), to('end')],
      });
      expect(played.status).toBe('SUCCEEDED');
      expect(played.path).toEqual([
        ...['Snapshot', 'AfterSnapshot', 'Snapshot', 'AfterSnapshot', 'Snapshot', 'AfterSnapshot', 'Taken'],
      ]);
      expect(played.calls.map(({ input }) => input.checkpoint)).toEqual([undefined, checkpoint, checkpoint]);
    });

    test('fails with its step: the next download that wants one takes another number', async () => {
      const played = await stage().play('snapshot', INPUTS.snapshot, { snapshotBatch: fails('FileMissing') });
      expect(played).toMatchObject({ status: 'FAILED', error: 'FileMissing', path: ['Snapshot'] });
    });
  });
}
