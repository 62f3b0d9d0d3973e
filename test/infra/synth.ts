import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export type Resource = { Type: string; Properties: Record<string, unknown>; DeletionPolicy?: string };
export type Template = { Resources: Record<string, Resource>; Outputs: Record<string, unknown> };

const APP = fileURLToPath(new URL('../../infra/app.ts', import.meta.url));

/** Synthesizes a stage as `cdk deploy` would, in a process without credentials. Throws with what it printed. */
export function synthesize(
  stage: string,
  context: Record<string, unknown> = {},
): { template: Template; outdir: string } {
  const outdir = mkdtempSync(join(tmpdir(), 'batch-api-synth-'));
  execFileSync(process.execPath, [APP], {
    env: {
      PATH: process.env.PATH,
      HOME: outdir,
      CDK_OUTDIR: outdir,
      CDK_CONTEXT_JSON: JSON.stringify({ stage, ...context }),
    },
    stdio: 'pipe',
    encoding: 'utf8',
  });
  const file = readdirSync(outdir).find((name) => name.endsWith('.template.json')) ?? '';
  return { template: JSON.parse(readFileSync(join(outdir, file), 'utf8')) as Template, outdir };
}

/** The template's resources of one type, by logical id. */
export function ofType(template: Template, type: string): [string, Resource][] {
  return Object.entries(template.Resources).filter(([, resource]) => resource.Type === type);
}

/** A machine's text, with stand-ins for what CloudFormation fills in. */
export function machineText(resource: Resource): string {
  const { 'Fn::Join': join } = resource.Properties.DefinitionString as { 'Fn::Join': [string, unknown[]] };
  return join[1]
    .map((part) => {
      if (typeof part === 'string') return part;
      const { Ref, 'Fn::GetAtt': attribute } = part as { Ref?: string; 'Fn::GetAtt'?: [string, string] };
      if (Ref === 'AWS::Partition') return 'aws';
      return attribute ? `arn:aws:lambda:us-east-1:123456789012:function:${attribute[0]}` : (Ref ?? '');
    })
    .join('');
}
