import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { App, Stack } from 'aws-cdk-lib';
import * as s3 from 'aws-cdk-lib/aws-s3';
import { expect, test } from 'vitest';
import { accept, checkByNag } from '../../infra/nag.ts';
import { synthesize } from './synth.ts';

type Report = {
  pluginReports: {
    pluginName: string;
    conclusion: string;
    violations: unknown[];
    suppressedViolations: { ruleName: string }[];
  }[];
};

/** Synthesizes a bucket that is reached without TLS; answers what was thrown. */
function synthOpenBucket(also: (bucket: s3.Bucket) => void = () => undefined): string {
  const app = new App();
  checkByNag(app);
  also(new s3.Bucket(new Stack(app, 'Planted'), 'Bucket'));
  try {
    app.synth();
    return '';
  } catch (thrown) {
    return String(thrown);
  }
}

test('a finding fails the synth, and is told with its rule', () => {
  expect(synthOpenBucket()).toMatch(/AwsSolutions-S1'.*AwsSolutions-S10'/s);
});

test('a finding that is accepted with its reason does not, and no other is accepted with it', () => {
  const one = (bucket: s3.Bucket) => accept(bucket, 'S1', 'Planted by the test.');
  expect(synthOpenBucket(one)).toMatch(/AwsSolutions-S10'/);
  const both = (bucket: s3.Bucket) => {
    one(bucket);
    accept(bucket, 'S10', 'Planted by the test.');
  };
  expect(synthOpenBucket(both)).toBe('');
});

test('the stack was looked at, and has no finding that is not accepted', () => {
  const { outdir } = synthesize('prod');
  const { pluginReports } = JSON.parse(readFileSync(join(outdir, 'validation-report.json'), 'utf8')) as Report;
  const [report] = pluginReports.filter(({ pluginName }) => pluginName === 'AwsSolutions');
  expect(report).toMatchObject({ conclusion: 'success', violations: [] });
  const accepted = report?.suppressedViolations.map(({ ruleName }) => ruleName.replace(/\[.*/, ''));
  // What the pack asks for and the stack has its reasons not to do: each stands beside the construct, in infra/.
  expect([...new Set(accepted)].toSorted()).toEqual(
    ['APIG4', 'IAM5', 'S1', 'SF1', 'SF2', 'SMG4'].map((rule) => `AwsSolutions-${rule}`),
  );
});
