import { withoutContent } from '../../domain/loggedError.ts';

/**
 * What nothing catches ends the process, and the runtime prints it whole, message, properties and causes. From now on it
 * finds no more in it than a log line would hold.
 */
export function keepContentOutOfCrashes(): void {
  // Before the runtime's own listener, which would print the reason. What a listener throws is an uncaught exception.
  process.prependListener('unhandledRejection', (reason) => {
    throw withoutContent(reason);
  });
  process.on('uncaughtExceptionMonitor', (error: unknown) => {
    if (!(error instanceof Error)) return;
    const { name, message, stack } = withoutContent(error);
    for (const property of Reflect.ownKeys(error)) Reflect.deleteProperty(error, property);
    Object.assign(error, { name, message, stack });
  });
}
