import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Two workers: the e2e files each start a whole local run.
    maxWorkers: 2,
    // Bounds what hangs; nothing here is timed.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
