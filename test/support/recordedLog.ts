import type { Log } from '../../shared/ports.ts';

export type LogLine = { level: Exclude<keyof Log, 'about'>; message: string; fields: Record<string, unknown> };

/** A log that keeps its lines, for what must stand in it and what must not. */
export function recordedLog(): Log & { lines: LogLine[] } {
  const lines: LogLine[] = [];
  let ids: Record<string, unknown> = {};
  const write =
    (level: LogLine['level']) =>
    (message: string, fields: Record<string, unknown> = {}) => {
      lines.push({ level, message, fields: { ...ids, ...fields } });
    };
  return {
    lines,
    about(given) {
      ids = given;
    },
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
  };
}
