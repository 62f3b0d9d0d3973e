import type { Context } from 'aws-lambda';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { lambdaHandler } from '../../shared/lambda/lambdaHandler.ts';
import { meteredHandler } from '../../shared/lambda/metering.ts';
import { sweepBatches } from '../../shared/usecases/sweepBatches.ts';

const environment = functionEnvironment('schedule/sweepBatches');
const deps = { ...systemPorts('sweepBatches', environment.SETTINGS), ...tablePorts(environment.TABLE_NAME) };

/** Once a day: what the due index has lost is put back, for the next check to look at. */
export const handler = lambdaHandler(
  meteredHandler({ function: 'sweepBatches', kind: 'schedule' }, async (_: unknown, context: Context) => {
    deps.log.about({ request_id: context.awsRequestId });
    const swept = await sweepBatches(deps, { remainingMs: () => context.getRemainingTimeInMillis() });
    deps.log.info('sweep', swept);
  }),
);
