// Plain JavaScript that any Node can read, preloaded by every command (`node --import`): says which Node is needed
// where this one cannot run TypeScript, instead of failing in the first file.
const NEEDED = 24;
const { node } = process.versions;

if (Number(node.split('.')[0]) < NEEDED) {
  console.error(
    `This project needs Node ${NEEDED} or newer, and this is ${node} on ${process.platform}-${process.arch}.\n` +
      'On Linux (x64, arm64) `npm ci` brings it along: run that first, without --omit=optional.\n' +
      `Elsewhere install Node ${NEEDED} from https://nodejs.org/en/download (or: nvm install ${NEEDED}) and try again.`,
  );
  process.exit(1);
}
