import { systemClock } from '../../adapters/system/clock.ts';
import { keepContentOutOfCrashes } from '../../adapters/system/crashes.ts';
import { systemIds } from '../../adapters/system/ids.ts';
import { createLog } from '../../adapters/system/log.ts';
import { systemRandom } from '../../adapters/system/random.ts';
import type { Settings } from '../../contract/settings.ts';
import type { Ports } from '../../ports.ts';

/** What every function has. One file a kind of adapter, so that a bundle holds only those that its function uses. */
export function systemPorts(
  service: string,
  settings: Settings,
): Pick<Ports, 'clock' | 'ids' | 'random' | 'log'> & { settings: Settings } {
  keepContentOutOfCrashes();
  const log = createLog({ service, level: settings.logLevel });
  return { clock: systemClock, ids: systemIds, random: systemRandom, log, settings };
}
