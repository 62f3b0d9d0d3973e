import { createHash } from 'node:crypto';
import type { TemplateResource } from './assembly.ts';

/** The account and region that the local run plays. The SDK's clients and the ARNs agree on them. */
export const REGION = 'us-east-1';
export const ACCOUNT = '000000000000';

export const PSEUDO_PARAMETERS = (stackName: string): Record<string, string> => ({
  'AWS::AccountId': ACCOUNT,
  'AWS::Partition': 'aws',
  'AWS::Region': REGION,
  'AWS::StackName': stackName,
  'AWS::StackId': `arn:aws:cloudformation:${REGION}:${ACCOUNT}:stack/${stackName}/local`,
  'AWS::URLSuffix': 'amazonaws.com',
});

const arn = (service: string, resource: string) => `arn:aws:${service}:${REGION}:${ACCOUNT}:${resource}`;

/** What a resource's `Ref` and attributes are here. Names come from the template alone, so they outlive a restart. */
export type LocalName = { name: string; ref: string; attributes: Record<string, string> };

/** @param given the resource's own name where the template sets one */
export function localName(
  logicalId: string,
  resource: TemplateResource,
  stackName: string,
  given: string | undefined,
): LocalName | undefined {
  const name = given ?? `${stackName}-${logicalId}`;
  switch (resource.Type) {
    case 'AWS::Lambda::Function': {
      const functionArn = arn('lambda', `function:${name}`);
      return { name, ref: name, attributes: { Arn: functionArn } };
    }
    case 'AWS::DynamoDB::Table':
      return { name, ref: name, attributes: { Arn: arn('dynamodb', `table/${name}`) } };
    case 'AWS::S3::Bucket': {
      // Bucket names are lower case, ≤ 63 characters.
      const bucket = (given ?? name).toLowerCase().slice(0, 63);
      return { name: bucket, ref: bucket, attributes: { Arn: `arn:aws:s3:::${bucket}` } };
    }
    case 'AWS::StepFunctions::StateMachine': {
      const machineArn = arn('states', `stateMachine:${name}`);
      return { name, ref: machineArn, attributes: { Arn: machineArn, Name: name } };
    }
    case 'AWS::SecretsManager::Secret': {
      // The service adds six characters of its own choice; here they come from the name, to be the same each time.
      const suffix = createHash('sha256').update(name).digest('hex').slice(0, 6);
      const secretArn = arn('secretsmanager', `secret:${name}-${suffix}`);
      return { name, ref: secretArn, attributes: { Id: secretArn } };
    }
    case 'AWS::ApiGatewayV2::Api':
      return {
        name: logicalId,
        ref: logicalId,
        attributes: { ApiId: logicalId, ApiEndpoint: `https://${logicalId}.execute-api.${REGION}.amazonaws.com` },
      };
    case 'AWS::ApiGatewayV2::Integration':
    case 'AWS::ApiGatewayV2::Route':
    case 'AWS::ApiGatewayV2::Stage':
      return { name: logicalId, ref: logicalId, attributes: {} };
    case 'AWS::Events::Rule':
      return { name, ref: name, attributes: { Arn: arn('events', `rule/${name}`) } };
    case 'AWS::Scheduler::Schedule':
      return { name, ref: name, attributes: { Arn: arn('scheduler', `schedule/default/${name}`) } };
    default:
      return undefined;
  }
}
