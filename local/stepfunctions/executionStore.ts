import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

export const EXECUTION_STATUSES = ['RUNNING', 'SUCCEEDED', 'FAILED', 'TIMED_OUT', 'ABORTED'] as const;
export type ExecutionStatus = (typeof EXECUTION_STATUSES)[number];

export type Execution = {
  arn: string;
  machineArn: string;
  name: string;
  status: ExecutionStatus;
  /** JSON texts, as they were given. */
  input: string;
  output: string | null;
  error: string | null;
  cause: string | null;
  startMs: number;
  stopMs: number | null;
};
export type ExecutionEnd = Pick<Execution, 'output' | 'error' | 'cause'> & {
  status: Exclude<ExecutionStatus, 'RUNNING'>;
};
export type ListedExecution = Execution & { rowid: number };

export type ExecutionStore = {
  get(arn: string): Execution | undefined;
  insert(execution: Pick<Execution, 'arn' | 'machineArn' | 'name' | 'input' | 'startMs'>): void;
  /** Only while it runs: the first end stands. */
  end(arn: string, end: ExecutionEnd, stopMs: number): boolean;
  /** Newest first, from before `before` on. */
  list(
    machineArn: string,
    query: { status?: ExecutionStatus; before?: { startMs: number; rowid: number }; take: number },
  ): ListedExecution[];
  close(): void;
};

// Step Functions forgets an execution, and frees its name, 90 days after its end.
const RETENTION_MS = 90 * 24 * 60 * 60 * 1_000;

const COLUMNS = `rowid, arn, machine_arn AS machineArn, name, status, input, output, error, cause,
  start_ms AS startMs, stop_ms AS stopMs`;

/**
 * The executions of a local run on disk. Those that are found running were cut off with the process that ran them, and
 * are marked as aborted: where they stood is not on disk, and a batch that finds no execution running starts its next
 * attempt, which resumes by the records.
 */
export function openExecutionStore(dataDir: string, now: number): ExecutionStore {
  const database = new DatabaseSync(join(dataDir, 'executions.db'));
  // WAL with NORMAL loses nothing when the process is killed; only a loss of power may take the last moments along.
  database.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS executions (
      arn TEXT PRIMARY KEY, machine_arn TEXT NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL, input TEXT NOT NULL,
      output TEXT, error TEXT, cause TEXT, start_ms INTEGER NOT NULL, stop_ms INTEGER);
    CREATE INDEX IF NOT EXISTS by_machine ON executions (machine_arn, start_ms);
    CREATE INDEX IF NOT EXISTS by_status ON executions (machine_arn, status, start_ms);
  `);
  database
    .prepare(
      `UPDATE executions SET status = 'ABORTED', stop_ms = ?, error = 'Local.ProcessEnded',
       cause = 'The local run ended while this execution was running.' WHERE status = 'RUNNING'`,
    )
    .run(now);
  database.prepare('DELETE FROM executions WHERE stop_ms < ?').run(now - RETENTION_MS);

  const get = database.prepare(`SELECT ${COLUMNS} FROM executions WHERE arn = ?`);
  const insert = database.prepare(
    `INSERT INTO executions (arn, machine_arn, name, status, input, start_ms) VALUES (?, ?, ?, 'RUNNING', ?, ?)`,
  );
  const end = database.prepare(
    `UPDATE executions SET status = ?, output = ?, error = ?, cause = ?, stop_ms = ? WHERE arn = ? AND status = 'RUNNING'`,
  );
  const select = (status: string) =>
    database.prepare(
      `SELECT ${COLUMNS} FROM executions WHERE machine_arn = $machine ${status}
       AND (start_ms, rowid) < ($startMs, $rowid) ORDER BY start_ms DESC, rowid DESC LIMIT $take`,
    );
  const listAll = select('');
  const listByStatus = select('AND status = $status');

  return {
    // The columns are those of the type.
    get: (arn) => get.get(arn) as Execution | undefined,
    insert: (e) => void insert.run(e.arn, e.machineArn, e.name, e.input, e.startMs),
    end: (arn, { status, output, error, cause }, stopMs) =>
      end.run(status, output, error, cause, stopMs, arn).changes === 1,
    list(machineArn, { status, before, take }) {
      const from = before ?? { startMs: Number.MAX_SAFE_INTEGER, rowid: 0 };
      const parameters = { $machine: machineArn, $startMs: from.startMs, $rowid: from.rowid, $take: take };
      const rows = status ? listByStatus.all({ ...parameters, $status: status }) : listAll.all(parameters);
      return rows as ListedExecution[];
    },
    close: () => database.close(),
  };
}
