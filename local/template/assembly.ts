import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { TemplateError } from './intrinsics.ts';

/** The parts of CDK's cloud assembly that are read here. https://github.com/aws/aws-cdk/tree/main/packages/aws-cdk-lib/cloud-assembly-schema */
const ManifestSchema = z.object({
  artifacts: z.record(
    z.string(),
    z.object({
      type: z.string(),
      properties: z.object({ templateFile: z.string().optional(), file: z.string().optional() }).optional(),
    }),
  ),
});
const AssetsSchema = z.object({
  files: z
    .record(
      z.string(),
      z.object({
        source: z.object({ path: z.string(), packaging: z.string().optional() }),
        destinations: z.record(z.string(), z.object({ objectKey: z.string() })),
      }),
    )
    .default({}),
});
const TemplateSchema = z
  .object({
    Resources: z.record(
      z.string(),
      z.object({ Type: z.string(), Properties: z.record(z.string(), z.unknown()).optional() }).loose(),
    ),
    Parameters: z.record(z.string(), z.object({ Default: z.unknown().optional() }).loose()).optional(),
    Mappings: z.record(z.string(), z.record(z.string(), z.record(z.string(), z.unknown()))).optional(),
    Conditions: z.record(z.string(), z.unknown()).optional(),
    Outputs: z.record(z.string(), z.object({ Value: z.unknown() }).loose()).optional(),
  })
  .loose();
export type Template = z.infer<typeof TemplateSchema>;
export type TemplateResource = Template['Resources'][string];

export type Assembly = {
  stackName: string;
  template: Template;
  /** Folder of a code asset, by the key that the template names. */
  codeFolders: Map<string, string>;
};

function readJson<T extends z.ZodType>(schema: T, path: string): z.output<T> {
  const parsed = schema.safeParse(JSON.parse(readFileSync(path, 'utf8')));
  if (parsed.success) return parsed.data;
  throw new TemplateError(`${path} is not what the local run can read: ${z.prettifyError(parsed.error)}`);
}

export function parseTemplate(value: unknown): Template {
  return TemplateSchema.parse(value);
}

/** Reads the one stack of a synthesized app. */
export function readAssembly(dir: string): Assembly {
  const { artifacts } = readJson(ManifestSchema, join(dir, 'manifest.json'));
  const stacks = Object.entries(artifacts).filter(([, artifact]) => artifact.type === 'aws:cloudformation:stack');
  const [stack] = stacks;
  if (!stack || stacks.length > 1)
    throw new TemplateError(`${dir} holds ${stacks.length} stacks; the local run takes one`);
  const [stackName, { properties }] = stack;
  const codeFolders = new Map<string, string>();
  for (const { type, properties: asset } of Object.values(artifacts)) {
    if (type !== 'cdk:asset-manifest' || asset?.file === undefined) continue;
    for (const { source, destinations } of Object.values(readJson(AssetsSchema, join(dir, asset.file)).files)) {
      if (source.packaging !== 'zip') continue;
      for (const { objectKey } of Object.values(destinations)) codeFolders.set(objectKey, join(dir, source.path));
    }
  }
  return {
    stackName,
    template: readJson(TemplateSchema, join(dir, properties?.templateFile ?? `${stackName}.template.json`)),
    codeFolders,
  };
}
