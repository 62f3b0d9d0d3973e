import type { Notification } from './demo/receivedNotification.ts';
import type { LocalRun } from './runtime.ts';

const EXAMPLE = 'product-descriptions.jsonl';

/** What a person sees when the local run is ready: where it is, the keys, and lines to paste. */
export function greeting(run: LocalRun): string {
  const { url, apiKey, demo, models } = run;
  const auth = `-H 'Authorization: Bearer ${apiKey}'`;
  const json = `-H 'Content-Type: application/json'`;
  const body = (inputUrl: string) =>
    JSON.stringify({
      name: 'First batch',
      type: 'COMPLETIONS',
      input_file_url: inputUrl,
      callback_url: demo.receiverUrl,
    });
  const field = (name: string) => `sed -n 's/.*"${name}":"\\([^"]*\\)".*/\\1/p'`;
  return `
The batch API runs at ${url} (${models}; data in ${run.dataDir})

  API key         ${apiKey}   (project ${run.projectId})
  operator key    ${run.operatorKey}
  webhook secret  ${run.webhookSecret}

Run a batch of an example that is served here; its notification is printed below:
  BATCH=$(curl -s ${url}/batches ${auth} ${json} -d '${body(demo.exampleUrl(EXAMPLE))}' | grep -o 'batch_[0-9A-Z]*' | head -n 1); echo $BATCH
See how it goes:
  curl -s ${url}/batches/$BATCH ${auth}; echo
Download its output, once it has ended:
  curl -s "$(curl -s ${url}/batches/$BATCH/download ${auth} | ${field('output_file_url')})"
Upload a file of your own instead, then create a batch with the input_file_url that this prints:
  FILE=examples/${EXAMPLE}; UPLOAD=$(curl -s ${url}/files ${auth} ${json} -d "{\\"bytes\\": $(wc -c < $FILE)}")
  curl -s -X PUT -H 'Content-Type: application/jsonl' --data-binary @$FILE "$(echo "$UPLOAD" | ${field('upload_url')})"
  echo "$UPLOAD" | ${field('input_file_url')}

Stop with Ctrl-C; the next start carries on.
`;
}

/** One line a notification. */
export function notificationLine({ receivedAt, signatureHolds, problem, body }: Notification): string {
  const verdict = signatureHolds ? 'its signature holds' : `its signature does NOT hold: ${problem}`;
  return `${receivedAt} notification ${body.event} for ${body.batch_id}: ${verdict}`;
}
