import { PROGRAM, projectCommand } from '../command.ts';
import { findTarget } from '../target.ts';
import { localTime, print, printJson, say } from '../terminal.ts';

export function webhookSecretCommand() {
  return projectCommand('webhook-secret', "The secret that the project's notifications are signed with.", [
    `${PROGRAM} webhook-secret`,
    `${PROGRAM} webhook-secret --rotate`,
  ])
    .option('--rotate', 'makes a new one; for 24 hours notifications are signed with the old one, too')
    .action(async ({ rotate, json, ...where }) => {
      const { client } = await findTarget(where, process.env);
      const { body } = await client.call(rotate ? 'rotateWebhookSecret' : 'getWebhookSecret');
      if (json) return printJson(body);
      print(body.secret);
      say(`Made ${localTime(body.created_at)}${rotate ? '; the one before signs for another 24 hours' : ''}`);
    });
}
