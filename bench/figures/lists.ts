import { createBatchStore } from '../../shared/adapters/dynamodb/batchStore.ts';
import { createDocumentClient } from '../../shared/adapters/dynamodb/client.ts';
import { createMeter } from '../../shared/adapters/metering/meter.ts';
import { meterClient } from '../../shared/adapters/metering/meterClient.ts';
import { listBatches } from '../../shared/usecases/listBatches.ts';
import { startDynalite } from '../../test/support/dynalite.ts';
import { aBatch } from '../../test/support/records.ts';
import { alternately, type FigureGroup, median, type Reading, ratioOf, secondsOf } from '../measured.ts';

const BATCHES = 10_000;
const BEHIND = 9_000;
/** What `GET /batches` answers unless told otherwise. */
const PAGE = 100;
const CREATED_AT_ONCE = 8;
/** A page takes some milliseconds. */
const PAGES_A_REPEAT = 4;
const WARM_UP_PAGES = 5;

const PROJECT = 'bench';
const CALLER = { projectId: PROJECT } as Parameters<typeof listBatches>[1];

/** A page far behind beside the first one, as the route reads both; times are dynalite's, read units DynamoDB's. */
export const lists: FigureGroup = {
  ids: ['list_after', 'list_skip'],
  async measure({ repeats, say, wants }) {
    say('list_after, list_skip: creating 10,000 batches');
    await using stack = new AsyncDisposableStack();
    const table = await startDynalite();
    stack.defer(() => table.close());
    const store = createBatchStore(table);
    const ids: string[] = [];
    let created = 0;
    const createOneByOne = async () => {
      while (created < BATCHES) {
        // A second apart, so that the ids sort by their number.
        const batch = aBatch({ projectId: PROJECT, createdAt: Date.parse('2026-01-15') + 1_000 * created++ });
        ids.push(batch.head.batchId);
        await store.create(batch);
      }
    };
    await Promise.all(Array.from({ length: CREATED_AT_ONCE }, createOneByOne));

    const meter = createMeter();
    const client = createDocumentClient({
      endpoint: table.endpoint,
      region: 'us-east-1',
      credentials: { accessKeyId: 'bench', secretAccessKey: 'bench' },
    });
    stack.defer(() => client.destroy());
    const batches = createBatchStore({ client: meterClient(client, 'dynamodb', meter), tableName: table.tableName });
    const last = ids[BEHIND - 1];
    if (last === undefined) throw new Error('Fewer batches than there should be');
    const page = async (where: { after?: string; skip?: number }) => {
      const seconds = await secondsOf(async () => {
        const { batches: shown } = await listBatches({ batches }, CALLER, { take: PAGE, order: 'asc', ...where });
        if (shown.length !== PAGE) throw new Error(`A page of ${shown.length} batches`);
      });
      return { seconds, readUnits: meter.take().dynamodb.read_units };
    };
    const against = async (where: { after?: string; skip?: number }): Promise<Reading> => {
      const units = { first: 0, behind: 0 };
      const behind = async () => {
        const { seconds, readUnits } = await page(where);
        units.behind = readUnits;
        return seconds;
      };
      const first = async () => {
        const { seconds, readUnits } = await page({});
        units.first = readUnits;
        return seconds;
      };
      await alternately(WARM_UP_PAGES, behind, first);
      const { ours, theirs } = await alternately(PAGES_A_REPEAT * repeats, behind, first);
      const ms = (seconds: number[]) => (1_000 * median(seconds)).toFixed(0);
      const note = `${ms(ours)} ms and ${units.behind} read units, first page ${ms(theirs)} ms and ${units.first}`;
      return ratioOf(ours, theirs, note);
    };
    return {
      ...(wants('list_after') ? { list_after: await against({ after: last }) } : {}),
      ...(wants('list_skip') ? { list_skip: await against({ skip: BEHIND }) } : {}),
    };
  },
};
