import { createProgram } from './program.ts';
import { runToEnd } from './runToEnd.ts';

await runToEnd(() => createProgram().parseAsync());
