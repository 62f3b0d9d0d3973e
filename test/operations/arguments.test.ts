import { describe, expect, test } from 'vitest';
import { readArguments, UsageError } from '../../operations/deleteProject/arguments.ts';

describe('the arguments of delete-project', () => {
  test('count what the local system has, unless told otherwise', () => {
    expect(readArguments(['--project', 'acme'])).toEqual({
      projectId: 'acme',
      yes: false,
      includeOpen: false,
      target: { data: '.local' },
    });
  });

  test('name a deployed stack by its table and bucket', () => {
    const args = ['--project', 'acme', '--table', 'T', '--bucket', 'b', '--region', 'eu-west-1', '--yes'];
    expect(readArguments([...args, '--include-open'])).toEqual({
      projectId: 'acme',
      yes: true,
      includeOpen: true,
      target: { table: 'T', bucket: 'b', region: 'eu-west-1' },
    });
  });

  test.each([
    [[], /Name the project/],
    [['--project', ''], /is not a project id/],
    // It would be a prefix of others' keys.
    [['--project', 'acme/'], /acme\/ is not a project id/],
    [['--project', 'a#b'], /is not a project id/],
    [['--project', 'acme', '--table', 'T'], /needs both/],
    [['--project', 'acme', '--region', 'eu-west-1'], /--region goes with/],
    [['--project', 'acme', '--data', 'd', '--table', 'T', '--bucket', 'b'], /leave it out/],
    [['--project', 'acme', '--force'], /--force/],
    [['acme'], /acme/],
  ])('%j are refused with what would be right', (args, message) => {
    expect(() => readArguments(args)).toThrow(UsageError);
    expect(() => readArguments(args)).toThrow(message);
  });
});
