import { Logger } from '@aws-lambda-powertools/logger';
import type { Log } from '../../ports.ts';

export type LogLevel = 'DEBUG' | 'INFO' | 'WARN' | 'ERROR';

/** Structured lines on standard output. Callers give ids and counts only: what a client sent never reaches a log. */
export function createLog({ service, level }: { service: string; level: LogLevel }): Log {
  const logger = new Logger({ serviceName: service, logLevel: level });
  return {
    debug: (message, fields = {}) => logger.debug(message, fields),
    info: (message, fields = {}) => logger.info(message, fields),
    warn: (message, fields = {}) => logger.warn(message, fields),
    error: (message, fields = {}) => logger.error(message, fields),
  };
}
