import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // The e2e files each start a whole local run, and mostly wait: three of them keep two cores busy.
    maxWorkers: 3,
    // Bounds what hangs; nothing here is timed.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
