import { RemovalPolicy } from 'aws-cdk-lib';
import * as apigwv2 from 'aws-cdk-lib/aws-apigatewayv2';
import { HttpLambdaIntegration } from 'aws-cdk-lib/aws-apigatewayv2-integrations';
import * as logs from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { DEFAULT_ROUTE_FUNCTION, type RouteName, routes } from '../../shared/contract/routes.ts';
import type { Stage } from '../config.ts';
import { accept } from '../nag.ts';
import type { BatchFunctions } from './batchFunctions.ts';

/** The HTTP API: a route a handler, from the table of routes, and `$default` for 404 and 405. */
export class BatchApi extends Construct {
  readonly url: string;

  constructor(scope: Construct, id: string, props: { functions: BatchFunctions; stage: Stage }) {
    super(scope, id);
    const integration = (name: RouteName | typeof DEFAULT_ROUTE_FUNCTION) =>
      new HttpLambdaIntegration(`${name}Integration`, props.functions.get(`http/${name}`));
    const api = new apigwv2.HttpApi(this, 'Api', {
      description: 'Batch API',
      createDefaultStage: false,
      defaultIntegration: integration(DEFAULT_ROUTE_FUNCTION),
    });
    accept(
      api,
      'APIG4',
      'Callers are recognized in the handler, which every route of the table of routes must say how to do: an authorizer of an HTTP API answers in a shape of its own.',
    );
    for (const [name, route] of Object.entries(routes)) {
      api.addRoutes({
        path: route.path,
        methods: [apigwv2.HttpMethod[route.method]],
        integration: integration(name as RouteName),
      });
    }
    const accessLogs = new logs.LogGroup(this, 'AccessLogs', {
      retention: props.stage.logRetentionDays as logs.RetentionDays,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    const stage = new apigwv2.HttpStage(this, 'Stage', {
      httpApi: api,
      stageName: '$default',
      autoDeploy: true,
      throttle: { rateLimit: props.stage.apiRequestsPerSecond, burstLimit: props.stage.apiBurst },
    });
    (stage.node.defaultChild as apigwv2.CfnStage).accessLogSettings = {
      destinationArn: accessLogs.logGroupArn,
      // No query string and no header: a signed URL or a token never gets here.
      format: JSON.stringify({
        requestId: '$context.requestId',
        // What the function's own lines have as `request_id`.
        functionRequestId: '$context.integration.requestId',
        routeKey: '$context.routeKey',
        status: '$context.status',
        latencyMs: '$context.responseLatency',
        error: '$context.integrationErrorMessage',
      }),
    };
    // Without the slash at the end that the stage's own URL has: clients put paths behind it.
    this.url = api.apiEndpoint;
  }
}
