import { relative } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * Files of half a minute and more, the longest first. A clean clone knows no durations, and vitest would begin with the
 * largest files instead: the longest are small, and the last of them would run alone while the other core idles.
 */
const LONG = [
  'test/chaos/chaos.test.ts',
  'test/soak/soak.test.ts',
  'test/e2e/',
  'test/cli/commands.test.ts',
  'test/operations/deleteProject.test.ts',
  'test/memory/',
  'test/simulation/',
  'test/chaos/',
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rankOf = ({ moduleId, project }: TestSpecification) => {
      const rank = LONG.findIndex((start) => relative(project.config.root, moduleId).startsWith(start));
      return rank < 0 ? LONG.length : rank;
    };
    return (await super.sort(files)).toSorted((a, b) => rankOf(a) - rankOf(b));
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // The e2e files each start a whole local run, and wait for half of their time: four of them keep two cores busy.
    maxWorkers: 4,
    sequence: { sequencer: LongestFirst },
    // Bounds what hangs; nothing here is timed. Ten processor seconds take minutes on a machine that ten others share.
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
