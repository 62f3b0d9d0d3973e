import { InvalidArgumentError, Option } from '@commander-js/extra-typings';
import type { KeyView } from '../../shared/contract/keys.ts';
import { ROLES } from '../../shared/domain/roles.ts';
import { newCommand, operatorCommand, PROGRAM, wholeNumber } from '../command.ts';
import { UsageError } from '../exitCodes.ts';
import { findTarget } from '../target.ts';
import { localTime, print, printJson, say, tableText } from '../terminal.ts';

export function keysCommand() {
  return newCommand('keys', "API keys of projects: the operator's.", [
    `${PROGRAM} keys create --project acme --name "nightly job"`,
    `${PROGRAM} keys list --project acme`,
    `${PROGRAM} keys revoke key_01J…`,
  ])
    .addCommand(createKeyCommand())
    .addCommand(listKeysCommand())
    .addCommand(revokeKeyCommand());
}

function createKeyCommand() {
  return operatorCommand('create', 'Makes an API key, which is shown this once.', [
    `${PROGRAM} keys create --project acme --role viewer --name dashboard --expires 2027-01-01`,
  ])
    .option('--project <id>', "whose it is (default: the local system's project)")
    .addOption(new Option('--role <role>', 'what it may do').choices(ROLES).default('admin' as const))
    .requiredOption('--name <name>', 'for people')
    .option(
      '--expires <time>',
      'when it stops working, such as 2027-01-01 or 2027-01-01T08:00:00Z (default: never)',
      time,
    )
    .action(async ({ project, role, name, expires, json, ...where }) => {
      const { client, local } = await findTarget(where, process.env);
      const projectId = project ?? local?.project_id;
      if (projectId === undefined) throw new UsageError('Name the project: --project ID.');
      const { body } = await client.call('createKey', {
        body: { project_id: projectId, role, name, ...(expires === undefined ? {} : { expires_at: expires }) },
      });
      if (json) return printJson(body);
      print(keyListText([body]));
      print(`\n${body.key}`);
      say('\nThis is the key. It is not shown again.');
    });
}

function listKeysCommand() {
  return operatorCommand('list', 'API keys, newest first, without the keys themselves.', [
    `${PROGRAM} keys list --project acme --all`,
  ])
    .option('--project <id>', 'only those of this project')
    .option('--take <n>', 'how many, up to 100', wholeNumber(1, 100), '100')
    .option('--after <id>', 'those that follow this key')
    .option('--all', 'all pages')
    .action(async ({ project, take, after, all, json, ...where }) => {
      const target = await findTarget(where, process.env);
      const keys: KeyView[] = [];
      let hasMore = true;
      for (let last = after; hasMore; last = keys.at(-1)?.id) {
        const query = { take, after: last, project_id: project };
        const { body } = await target.client.call('listKeys', { query });
        keys.push(...body.keys);
        hasMore = body.has_more;
        if (!all || body.keys.length === 0) break;
      }
      if (json) return printJson({ keys, has_more: hasMore });
      if (keys.length === 0) return say('There are no such keys.');
      print(keyListText(keys));
      const filter = `${project ? ` --project ${project}` : ''} --take ${take}`;
      if (hasMore) say(`\nThere are more: ${target.command(`keys list${filter} --after ${keys.at(-1)?.id}`)}`);
    });
}

function revokeKeyCommand() {
  return operatorCommand('revoke', 'Revokes an API key for good.', [`${PROGRAM} keys revoke key_01J…`])
    .argument('<id>', 'the key: its id, not the key itself')
    .action(async (id, { json, ...where }) => {
      const { client } = await findTarget(where, process.env);
      const { body } = await client.call('revokeKey', { params: { key_id: id } });
      if (json) printJson(body);
      else print(keyListText([body]));
    });
}

function keyListText(keys: readonly KeyView[]): string {
  return tableText(
    [
      { head: 'ID', text: ({ id }) => id },
      { head: 'KEY', text: ({ prefix }) => `${prefix}…` },
      { head: 'PROJECT', text: ({ project_id }) => project_id, maxCharacters: 24 },
      { head: 'ROLE', text: ({ role }) => role },
      { head: 'NAME', text: ({ name }) => name, maxCharacters: 28 },
      { head: 'CREATED', text: ({ created_at }) => localTime(created_at) },
      { head: 'EXPIRES', text: ({ expires_at }) => localTime(expires_at) },
      { head: 'REVOKED', text: ({ revoked_at }) => localTime(revoked_at) },
    ],
    keys,
  );
}

/** A date or a time, as the API takes it. */
function time(text: string): string {
  const value = new Date(text);
  if (/^\d{4}-\d{2}-\d{2}/.test(text) && !Number.isNaN(value.getTime())) return value.toISOString();
  throw new InvalidArgumentError(
    'It must be a date or a time in ISO 8601, such as 2027-01-01 or 2027-01-01T08:00:00Z.',
  );
}
