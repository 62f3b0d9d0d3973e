import { type App, type CfnElement, Stack, Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';
import type { IConstruct } from 'constructs';

/** cdk-nag's AwsSolutions pack looks at all that is synthesized; a finding that is not accepted fails the synth. */
export function checkByNag(app: App): void {
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
}

/**
 * Lets a finding stand, on the construct and all below it.
 *
 * @param finding the rule and, where it tells them apart, what it found: `S1`, `IAM5[Resource::*]`
 */
export function accept(scope: IConstruct, finding: string, reason: string): void {
  Validations.of(scope).acknowledge({ id: `AwsSolutions::AwsSolutions-${finding}`, reason });
}

/** The construct's own resource, as cdk-nag names it in a finding. */
export function logicalIdOf(construct: IConstruct): string {
  // Every L2 construct has one.
  return Stack.of(construct).getLogicalId(construct.node.defaultChild as CfnElement);
}
