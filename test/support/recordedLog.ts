import type { Log } from '../../shared/ports.ts';

export type LogLine = { level: keyof Log; message: string; fields: Record<string, unknown> };

/** A log that keeps its lines, for what must stand in it and what must not. */
export function recordedLog(): Log & { lines: LogLine[] } {
  const lines: LogLine[] = [];
  const write =
    (level: keyof Log) =>
    (message: string, fields: Record<string, unknown> = {}) => {
      lines.push({ level, message, fields });
    };
  return { lines, debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
}
