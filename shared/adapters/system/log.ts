import { Logger } from '@aws-lambda-powertools/logger';
import { loggedError } from '../../domain/loggedError.ts';
import type { Log } from '../../ports.ts';

export type LogLevel = 'DEBUG' | 'INFO' | 'WARN' | 'ERROR';

/**
 * Structured lines on standard output, fields in snake_case. Callers give ids and counts only: what a client sent never
 * reaches a log. Errors are written as `loggedError` has them.
 */
export function createLog({ service, level }: { service: string; level: LogLevel }): Log {
  const logger = new Logger({ serviceName: service, logLevel: level });
  return {
    about(ids) {
      logger.resetKeys();
      logger.appendKeys(written(ids));
    },
    debug: (message, fields = {}) => logger.debug(message, written(fields)),
    info: (message, fields = {}) => logger.info(message, written(fields)),
    warn: (message, fields = {}) => logger.warn(message, written(fields)),
    error: (message, fields = {}) => logger.error(message, written(fields)),
  };
}

function written(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      value instanceof Error ? loggedError(value) : value,
    ]),
  );
}
