import type { RunInfo } from '../shared/contract/runInfo.ts';
import { type Arguments, readArguments, USAGE } from './arguments.ts';
import { StartError } from './dataFolder.ts';
import { greeting, notificationLine } from './greeting.ts';
import { type LocalRun, startLocalRun } from './runtime.ts';

/** `npm start`. With `--json`, stdout is for the one line; everything else goes to stderr. */
async function start({ port, dataDir, reset, json, modelServer }: Arguments): Promise<LocalRun> {
  const say = (text: string) => (json ? process.stderr : process.stdout).write(`${text}\n`);
  const run = await startLocalRun({
    port,
    dataDir,
    reset,
    environment: process.env,
    ...(modelServer ? { modelServer } : {}),
    onProgress: (text) => say(`${text} …`),
    onNotification: (notification) => say(notificationLine(notification)),
  });
  if (json) {
    const { url, apiKey, operatorKey, projectId, webhookSecret, demo, pid } = run;
    const ready: RunInfo = {
      url,
      api_key: apiKey,
      management_key: operatorKey,
      project_id: projectId,
      webhook_secret: webhookSecret,
      demo_receiver_url: demo.receiverUrl,
      pid,
    };
    process.stdout.write(`${JSON.stringify(ready)}\n`);
  } else say(greeting(run));
  return run;
}

async function main(): Promise<void> {
  const args = readArguments(process.argv.slice(2));
  if (args.help) {
    process.stdout.write(USAGE);
    return;
  }
  // A signal before everything is up ends the process as it is: what is on disk stands a kill.
  let run: LocalRun | undefined;
  let stopping = false;
  const stop = () => {
    if (stopping || !run) process.exit(0);
    stopping = true;
    run.close().then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  run = await start(args);
}

try {
  await main();
} catch (error) {
  console.error(error instanceof StartError ? error.message : error);
  process.exit(1);
}
