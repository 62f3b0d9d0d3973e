// The one file that any Node can read: it says which Node is needed, where this one is too old, and starts main.ts.
import { existsSync } from 'node:fs';

const major = Number(process.versions.node.split('.')[0]);
const NEEDED = 24;

if (major < NEEDED || !process.features.typescript) {
  const own = existsSync(new URL('../node_modules/.bin/node', import.meta.url));
  const found =
    major < NEEDED
      ? `this is ${process.version} on ${process.platform}-${process.arch}`
      : 'this one runs without type stripping';
  const remedy = own
    ? 'Use "npm start", which runs the Node that npm ci has installed here.'
    : `The lockfile brings none for this platform. Install Node ${NEEDED} from https://nodejs.org/en/download (or by "nvm install ${NEEDED}" or "brew install node@${NEEDED}") and try again.`;
  console.error(`The local run needs Node ${NEEDED} or newer; ${found}.\n${remedy}`);
  process.exitCode = 1;
} else {
  // node:sqlite works, but still announces itself as experimental.
  const emitWarning = process.emitWarning;
  process.emitWarning = (warning, ...rest) => {
    if (!String(warning).includes('SQLite is an experimental feature')) emitWarning.call(process, warning, ...rest);
  };
  await import('./main.ts');
}
