import { countFiles, deleteFiles, FILE_KINDS, type ProjectFiles } from './projectFiles.ts';
import { deleteRecords, findRecords, type ProjectRecords, RECORD_KINDS } from './projectRecords.ts';
import type { Stores } from './stores.ts';

export type Request = { projectId: string; yes: boolean; includeOpen: boolean };
export type Say = {
  /** What the command answers. */
  result(text: string): void;
  /** How far it is. */
  progress(text: string): void;
};
export type Done = 'counted' | 'deleted' | 'refused';

/** Finds all of a project and tells how much it is; deletes it where that was asked for and nothing speaks against it. */
export async function deleteProject(stores: Stores, request: Request, say: Say): Promise<Done> {
  const { projectId, yes, includeOpen } = request;
  const records = await findRecords(stores.table, projectId, everyThousand(say, 'records of the table read'));
  const files = await countFiles(stores, projectId);
  say.result(summary(projectId, records, files));

  if (records.open.length > 0 && !includeOpen) {
    const some = records.open.slice(0, 10).map(({ batchId, status }) => `  ${batchId} ${status}`);
    const more = records.open.length > some.length ? [`  and ${records.open.length - some.length} more`] : [];
    say.result(
      [
        `${count(records.open.length, 'batch has', 'batches have')} not ended:`,
        ...some,
        ...more,
        'Cancel them first (POST /batches/{batch_id}/cancel), or add --include-open.',
      ].join('\n'),
    );
    return 'refused';
  }
  if (!yes) {
    say.result('Nothing was deleted. Add --yes to delete it; there is no way back.');
    return 'counted';
  }
  // Keys before files, batches last: no new batch is made meanwhile, and a run that is cut off can be run again.
  const [first, ...others] = RECORD_KINDS;
  const recordsDeleted = everyThousand(say, 'records deleted');
  await deleteRecords(stores.table, records, [first], recordsDeleted);
  await deleteFiles(stores, projectId, everyThousand(say, 'objects deleted'));
  await deleteRecords(stores.table, records, others, recordsDeleted);
  say.result(`Deleted. Nothing of ${projectId} is left in the table ${stores.table.tableName} and ${stores.bucket}.`);
  return 'deleted';
}

function summary(projectId: string, { byKind }: ProjectRecords, files: ProjectFiles): string {
  const row = (name: string, value: string) => `  ${name.padEnd(44)}${value.padStart(12)}`;
  return [
    `Project ${projectId}`,
    ...RECORD_KINDS.map((kind) => row(kind, `${byKind[kind].length}`)),
    ...FILE_KINDS.map((kind) => {
      const { objects, bytes } = files[kind];
      return row(`objects in ${kind}/`, `${objects}`) + (objects > 0 ? `, ${bytes} bytes` : '');
    }),
  ].join('\n');
}

const count = (many: number, one: string, more: string) => `${many} ${many === 1 ? one : more}`;

function everyThousand(say: Say, what: string): (more: number) => void {
  let total = 0;
  let said = 0;
  return (more) => {
    total += more;
    if (total - said < 1_000) return;
    said = total;
    say.progress(`${total} ${what}`);
  };
}
