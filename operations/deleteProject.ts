import { HELP, readArguments, UsageError } from './deleteProject/arguments.ts';
import { deleteProject } from './deleteProject/deleteProject.ts';
import { openStores } from './deleteProject/stores.ts';

const EXIT_CODES = { counted: 0, deleted: 0, refused: 2 } as const;

async function main(): Promise<number> {
  const given = readArguments(process.argv.slice(2));
  if (given === 'help') {
    console.log(HELP);
    return 0;
  }
  const stores = openStores(given.target);
  try {
    const say = { result: (text: string) => console.log(text), progress: (text: string) => console.error(text) };
    return EXIT_CODES[await deleteProject(stores, given, say)];
  } finally {
    stores.close();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof UsageError ? error.message : error);
  process.exitCode = 1;
}
