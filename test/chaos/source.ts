import { InputRejected } from '../../shared/domain/errors.ts';
import type { InputSource } from '../../shared/ports.ts';
import type { VirtualTime } from '../simulation/virtualTime.ts';
import type { Serving } from '../soak/source.ts';

const DRIP_PAUSE_MS = 20_000;

/** The web host of clients whose input is not uploaded. */
export function createChaosSource(): InputSource & {
  offer(name: string, content: Buffer, serving: Serving, drips: number): string;
  attach(time: VirtualTime): void;
} {
  const files = new Map<string, { body: Buffer; serving: Serving; opened: number; drips: number }>();
  let time: VirtualTime | undefined;
  return {
    attach(virtual) {
      time = virtual;
    },
    offer(name, body, serving, drips) {
      const url = `http://127.0.0.1/${name}.jsonl`;
      files.set(url, { body, serving, opened: 0, drips });
      return url;
    },
    async open(url, { start = 0 } = {}) {
      const file = files.get(url);
      if (!file) throw new Error(`Nobody offers ${url}`);
      file.opened++;
      const { body, serving, drips, opened } = file;
      async function* chunks() {
        const size = serving === 'dripping' ? Math.ceil(body.length / drips) : Math.max(1, body.length);
        for (let at = start; at < body.length; at += size) {
          if (serving === 'dripping') await time?.clock.sleep(DRIP_PAUSE_MS);
          if (serving === 'breaking' && opened === 1) {
            yield body.subarray(at, at + Math.ceil(size / 2));
            throw new InputRejected('input_file_unreachable', 'The connection was reset.');
          }
          yield body.subarray(at, at + size);
        }
      }
      return { body: chunks(), bytes: body.length, etag: '"same"', acceptsRanges: true, gzip: false };
    },
  };
}
