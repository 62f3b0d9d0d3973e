let whatToSay = () => 'Stopped.';

/** From now on Ctrl-C says this: how to go on with what runs elsewhere. */
export function onInterrupt(message: () => string): void {
  whatToSay = message;
}

/** A signal ends the command with the code that shells use for it: 128 and the signal's number. */
export function endOnSignals(): void {
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
  ] as const) {
    process.once(signal, () => {
      process.stderr.write(`\n${whatToSay()}\n`);
      process.exit(128 + number);
    });
  }
  // `… | head` takes what it wants and closes: no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit();
  });
}
