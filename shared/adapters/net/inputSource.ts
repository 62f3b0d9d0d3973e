import { InputRejected } from '../../domain/errors.ts';
import type { InputSource } from '../../ports.ts';
import { createHttpSource } from './httpSource.ts';
import type { InputSourceOptions } from './inputSourceOptions.ts';
import { createS3Source } from './s3Source.ts';

/**
 * Reads input from outside. What it throws is `InputRejected`, before the first byte and in the middle of the body
 * alike; a body that broke off (`input_file_unreachable`) can be gone on with by `start` and `ifRange`.
 */
export function createInputSource(options: InputSourceOptions): InputSource {
  const http = createHttpSource(options);
  const s3 = createS3Source(options);
  return {
    async open(url, range = {}) {
      if (/^s3:/i.test(url)) return s3.open(url, range);
      if (/^https?:/i.test(url)) return http.open(url, range);
      throw new InputRejected('input_file_unreachable', 'The input file URL has a scheme that is not supported.');
    },
  };
}
