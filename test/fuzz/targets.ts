import type { Target } from './run.ts';
import { http } from './targets/http.ts';
import { lines } from './targets/lines.ts';

export const TARGETS: readonly Target[] = [lines, http];
