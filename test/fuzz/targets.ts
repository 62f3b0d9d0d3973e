import type { Target } from './run.ts';
import { answers } from './targets/answers.ts';
import { http } from './targets/http.ts';
import { lines } from './targets/lines.ts';
import { validate } from './targets/validate.ts';

export const TARGETS: readonly Target[] = [lines, validate, answers, http];
