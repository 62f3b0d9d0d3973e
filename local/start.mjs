// The one file that any Node can read: it says which Node is needed, where this one is too old, and starts main.ts.
const major = Number(process.versions.node.split('.')[0]);
const NEEDED = 24;

if (major < NEEDED || !process.features.typescript) {
  const found =
    major < NEEDED
      ? `this is ${process.version} on ${process.platform}-${process.arch}, and the lockfile brings none for it`
      : 'this one was started without type stripping (--no-strip-types, or an old build)';
  console.error(
    `The local run needs Node ${NEEDED} or newer: ${found}.\n` +
      `Install Node ${NEEDED} from https://nodejs.org/en/download (or "nvm install ${NEEDED}" or "brew install node@${NEEDED}") and try again.`,
  );
  process.exitCode = 1;
} else {
  // node:sqlite works, but still announces itself as experimental.
  const emitWarning = process.emitWarning;
  process.emitWarning = (warning, ...rest) => {
    if (!String(warning).includes('SQLite is an experimental feature')) emitWarning.call(process, warning, ...rest);
  };
  await import('./main.ts');
}
