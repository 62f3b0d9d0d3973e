import type { Context } from 'aws-lambda';
import { machinePorts } from '../../shared/lambda/deps/machines.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { lambdaHandler } from '../../shared/lambda/lambdaHandler.ts';
import { meteredHandler } from '../../shared/lambda/metering.ts';
import { checkBatches } from '../../shared/usecases/checkBatches.ts';

const environment = functionEnvironment('schedule/checkBatches');
const deps = {
  ...systemPorts('checkBatches', environment.SETTINGS),
  ...tablePorts(environment.TABLE_NAME),
  ...machinePorts(environment),
};

/** Each minute: the same code as the operator's route. What it did goes to the log, without the list of batches. */
export const handler = lambdaHandler(
  meteredHandler({ function: 'checkBatches', kind: 'schedule' }, async (_: unknown, context: Context) => {
    deps.log.about({ request_id: context.awsRequestId });
    const { batches, ...counts } = await checkBatches(deps);
    deps.log.info('check', { ...counts, batches: batches.map(({ id, to, reason }) => `${id} ${to} ${reason}`) });
  }),
);
