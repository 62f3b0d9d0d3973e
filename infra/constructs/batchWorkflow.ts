import { Duration } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import type * as s3 from 'aws-cdk-lib/aws-s3';
import * as sfn from 'aws-cdk-lib/aws-stepfunctions';
import { Construct } from 'constructs';
import { MAX_SHARD_TURNS, STEP_VERSION } from '../../shared/contract/steps.ts';
import { KEY_PREFIXES } from '../../shared/domain/objectKeys.ts';
import type { Stage } from '../config.ts';
import { accept, logicalIdOf } from '../nag.ts';
import type { BatchFunctions } from './batchFunctions.ts';
import { lambdaStep } from './lambdaStep.ts';
import { acceptMachine, executionsOf, machineLogs } from './machineLogs.ts';

/** The L2 would let the machine read the whole bucket; it reads lists of shards. */
class ShardListReader extends sfn.S3JsonLItemReader {
  override providePolicyStatements(): iam.PolicyStatement[] {
    return [
      new iam.PolicyStatement({
        actions: ['s3:GetObject'],
        resources: [this.bucket.arnForObjects(`${KEY_PREFIXES.shards}*`)],
      }),
    ];
  }
}

/** The L2 would let the machine write the whole bucket; it writes the map's results (ids and counts, no content). */
class MapResultWriter extends sfn.ResultWriterV2 {
  override providePolicyStatements(): iam.PolicyStatement[] {
    const objects = this.bucket?.arnForObjects(`${KEY_PREFIXES.shards}*`) ?? '';
    return [
      new iam.PolicyStatement({
        actions: ['s3:PutObject', 's3:GetObject', 's3:ListMultipartUploadParts', 's3:AbortMultipartUpload'],
        resources: [objects],
      }),
    ];
  }
}

/**
 * The batch machine, one execution an attempt.
 *
 *   Fetch ⟲ ─► Validate ─► Plan ─► Process (Distributed Map: RunShard ⟲) ─► Plan … ─► Finalize ⟲ ─► Ended
 *   any failure ─► Fail ─► Finalize, or LeftToTheCheck (the execution fails, checkBatches starts the next attempt)
 *
 * Every step answers the whole next state; `next` in it is what the Choice after it looks at.
 */
export class BatchWorkflow extends Construct {
  readonly machine: sfn.StateMachine;

  constructor(scope: Construct, id: string, props: { functions: BatchFunctions; bucket: s3.Bucket; stage: Stage }) {
    super(scope, id);
    const step = (name: string, file: Parameters<BatchFunctions['get']>[0]) =>
      lambdaStep(this, name, props.functions.get(file));
    const next = (value: string) => sfn.Condition.stringEquals('$.next', value);

    const fetch = step('Fetch', 'workflow/fetchInput');
    const validate = step('Validate', 'workflow/validateInput');
    const plan = step('Plan', 'workflow/planShards');
    const process = this.process(props);
    const finalize = step('Finalize', 'workflow/finalizeBatch');
    const fail = step('Fail', 'workflow/failBatch');
    const ended = new sfn.Succeed(this, 'Ended');
    const leftToTheCheck = new sfn.Fail(this, 'LeftToTheCheck', {
      error: 'StepDied',
      cause: 'A step failed for good. checkBatches starts the next attempt, which goes on from the records.',
    });

    fetch.next(
      new sfn.Choice(this, 'AfterFetch')
        .when(next('fetch'), fetch)
        .when(next('validate'), validate)
        .when(next('plan'), plan)
        .when(next('finalize'), finalize)
        .otherwise(ended),
    );
    validate.next(
      new sfn.Choice(this, 'AfterValidate').when(next('plan'), plan).when(next('finalize'), finalize).otherwise(ended),
    );
    plan.next(
      new sfn.Choice(this, 'AfterPlan')
        .when(next('process'), process)
        .when(next('finalize'), finalize)
        .otherwise(ended),
    );
    process.next(plan);
    const settle = new sfn.Wait(this, 'LetWorkersCommit', { time: sfn.WaitTime.secondsPath('$.waitSeconds') });
    finalize.next(
      new sfn.Choice(this, 'AfterFinalize')
        .when(next('finalize'), finalize)
        // An attempt was stopped a moment ago: first its workers commit what they have.
        .when(next('settle'), settle)
        .otherwise(ended),
    );
    settle.next(finalize);
    fail.next(
      new sfn.Choice(this, 'AfterFail')
        .when(next('finalize'), finalize)
        .when(next('give_up'), leftToTheCheck)
        .otherwise(ended),
    );
    const toFail = { errors: [sfn.Errors.ALL], resultPath: '$.error' };
    for (const state of [fetch, validate, plan, finalize]) state.addCatch(fail, toFail);
    process.addCatch(fail, toFail);

    this.machine = new sfn.StateMachine(this, 'Machine', {
      stateMachineType: sfn.StateMachineType.STANDARD,
      definitionBody: sfn.DefinitionBody.fromChainable(fetch),
      comment: `Runs one attempt of a batch (step contracts of version ${STEP_VERSION})`,
      logs: machineLogs(this, props.stage),
      // The longest window is 7 days; gathering a very large batch takes hours after it.
      timeout: Duration.days(9),
    });
    acceptMachine(this.machine);
    accept(
      this.machine,
      `IAM5[Resource::<${logicalIdOf(props.bucket)}.Arn>/${KEY_PREFIXES.shards}*]`,
      'The lists of shards that maps read and the results that they write, of any batch.',
    );
    accept(
      this.machine,
      `IAM5[Resource::${executionsOf(this.machine).replace(/:\*$/, '/Process:*')}]`,
      'CDK lets a failed map run be redriven by hand, in the console.',
    );
  }

  private process(props: { functions: BatchFunctions; bucket: s3.Bucket }): sfn.DistributedMap {
    const runShard = lambdaStep(this, 'RunShard', props.functions.get('workflow/runShard'));
    const wait = new sfn.Wait(this, 'WaitForModel', { time: sfn.WaitTime.secondsPath('$.waitSeconds') });
    const turnsLeft = sfn.Condition.numberLessThan('$.turn', MAX_SHARD_TURNS);
    const next = (value: string) => sfn.Condition.and(sfn.Condition.stringEquals('$.next', value), turnsLeft);
    runShard.next(
      new sfn.Choice(this, 'AfterRunShard')
        .when(next('again'), runShard)
        .when(next('wait'), wait)
        // Done, or out of turns: what is left is planned and mapped again.
        .otherwise(new sfn.Succeed(this, 'ShardEnded')),
    );
    wait.next(runShard);

    const map = sfn.DistributedMap.jsonPath(this, 'Process', {
      label: 'Process',
      mapExecutionType: sfn.StateMachineType.STANDARD,
      itemReader: new ShardListReader({ bucket: props.bucket, key: sfn.JsonPath.stringAt('$.key') }),
      itemSelector: {
        version: STEP_VERSION,
        projectId: sfn.JsonPath.stringAt('$.projectId'),
        batchId: sfn.JsonPath.stringAt('$.batchId'),
        attempt: sfn.JsonPath.numberAt('$.attempt'),
        shard: sfn.JsonPath.objectAt('$$.Map.Item.Value'),
        turn: 0,
      },
      maxConcurrencyPath: '$.maxConcurrency',
      // A failed child is accounted for by Plan, which maps what is left again; 0 would fail the whole run.
      toleratedFailurePercentage: 100,
      resultWriterV2: new MapResultWriter({
        bucket: props.bucket,
        prefix: `${KEY_PREFIXES.shards}map-results`,
        writerConfig: new sfn.WriterConfig({
          outputType: sfn.OutputType.JSON,
          transformation: sfn.Transformation.NONE,
        }),
      }),
      resultPath: sfn.JsonPath.DISCARD,
    });
    map.itemProcessor(runShard);
    return map;
  }
}
