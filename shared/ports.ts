import type { ApiKey } from './domain/apiKey.ts';
import type {
  BatchDetail,
  BatchError,
  BatchHead,
  BatchRef,
  Delivery,
  InputFile,
  Outcome,
  Plan,
  Receipt,
  RequestCounts,
  StoredFile,
  Usage,
} from './domain/batch.ts';
import type { BatchStatus } from './domain/batchStatus.ts';
import type { Control } from './domain/control.ts';
import type { ModelEndpoint } from './domain/modelEndpoints.ts';
import type { WebhookSecret } from './domain/notifications/signature.ts';
import type { QuotaWindow } from './domain/quotas.ts';
import type { TakenBlock } from './domain/retry/callShare.ts';
import type { Circuit, OpenCircuit } from './domain/retry/circuit.ts';
import type { Role } from './domain/roles.ts';
import type { ShardCommit, ShardRange, ShardRecord } from './domain/shard.ts';

/**
 * Everything the use cases need from the world. Adapters implement one port each; a use case names the ports it uses
 * as its narrow first argument: `createBatch(deps: Pick<Ports, 'batches' | 'clock'>, input)`.
 */
export type Ports = {
  batches: BatchStore;
  shards: ShardStore;
  controls: ControlStore;
  apiKeys: ApiKeyStore;
  webhookSecrets: WebhookSecretStore;
  idempotency: IdempotencyStore;
  uploads: UploadStore;
  snapshots: SnapshotStore;
  circuits: CircuitStore;
  callShares: CallShareStore;
  quotas: QuotaStore;
  openBatches: OpenBatchStore;
  files: FileStore;
  sources: InputSource;
  workflow: Workflow;
  models: ModelProviders;
  receivers: Receiver;
  operatorKey: OperatorKey;
  tokens: TokenVerifier;
  clock: Clock;
  ids: Ids;
  random: Random;
  log: Log;
};

/* ---------------------------------------------------------------- time, ids, chance, log */

export type Clock = {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
};

export type Ids = {
  /** A ULID: 26 characters that sort by time. */
  ulid(): string;
  /** Bytes from the system's secure source. */
  secretBytes(count: number): Uint8Array;
};

/** What a step knows of the invocation that it runs in. */
export type Invocation = {
  /** Milliseconds until the function is stopped from outside. */
  remainingMs(): number;
};

/** Uniform in [0, 1). */
export type Random = { next(): number };

/** Structured; never given prompts, answers, tokens or signed URLs. */
export type Log = {
  /** Ids that stand on every line from now on, in place of those that were given before: an invocation's own. */
  about(ids: Record<string, unknown>): void;
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
};

/* ---------------------------------------------------------------- records */

export type ListQuery = {
  projectId: string;
  take: number;
  order: 'asc' | 'desc';
  /** One of the two at most. */
  skip?: number;
  after?: string;
  status?: BatchStatus;
};

/** What may be set together with a status move. */
export type MoveChange = Partial<
  Pick<
    BatchHead,
    | 'outcome'
    | 'plan'
    | 'requestCounts'
    | 'usage'
    | 'outputFile'
    | 'errorsFile'
    | 'lineIndex'
    | 'filesExpireAt'
    | 'input'
  >
>;

/** `already`: the batch is in that status (a repeat of the same move is success); `refused`: the table forbids it. */
export type MoveResult = { result: 'moved' | 'already' | 'refused'; head: BatchHead } | { result: 'not_found' };

/** The part of a batch's detail that *list* reads. */
export type ListedDetail = Pick<BatchDetail, 'batchId' | 'description' | 'metadata'>;

export type BatchStore = {
  /**
   * Detail and control first, the head last and only if it is not there: a visible batch is a whole one, whoever else makes
   * it at the same time from the same request. `dueAt` goes
   * with the head: a batch whose start was lost is found by the check.
   */
  create(batch: {
    head: BatchHead;
    detail: BatchDetail;
    control: Control;
    dueAt: number;
  }): Promise<'created' | 'exists'>;
  get(ref: BatchRef): Promise<BatchHead | undefined>;
  getDetail(batchId: string): Promise<BatchDetail | undefined>;
  /** What *list* shows beside the heads; a batch without detail is left out. */
  getDetails(batchIds: string[]): Promise<Map<string, ListedDetail>>;
  list(query: ListQuery): Promise<{ batches: BatchHead[]; hasMore: boolean }>;
  /**
   * Moves the status where `TRANSITIONS` allows it, in one conditional write made from that table. With `attempt`, only
   * while that attempt is the newest, with `gathering`, only while that is: a superseded one is `refused` even where the
   * status is `to`. An outcome in the change is set only where none stands. `from` leaves only some of the table's ways
   * open. `head` says whose files and plan count: compare before deleting one's own.
   */
  move(
    ref: BatchRef,
    to: BatchStatus,
    options: {
      now: number;
      attempt?: number;
      gathering?: number;
      change?: MoveChange;
      from?: readonly BatchStatus[];
    },
  ): Promise<MoveResult>;
  /**
   * Writes the outcome if there is none (before the end a `cancelled` replaces any); answers the one that stands. With
   * `attempt`, only while that is the newest, with `from`, only in one of those statuses: else `superseded`.
   */
  fixOutcome(
    ref: BatchRef,
    outcome: Outcome,
    only?: { attempt?: number; from?: readonly BatchStatus[] },
  ): Promise<Outcome | 'superseded'>;
  /**
   * Takes the next number of a gathering, while the attempt is the newest and the batch has not ended: whoever gathered
   * before, a twin of this invocation that was frozen or one that was cut off, can neither write the receipt nor end the
   * batch any more.
   */
  takeGathering(ref: BatchRef, attempt: number): Promise<number | 'superseded'>;
  /** While the attempt is the newest and no plan is laid down. */
  setInput(ref: BatchRef, attempt: number, input: InputFile): Promise<'set' | 'superseded'>;
  /**
   * The plan without a move: a failed validation leaves its bad lines (`plan.invalid`, 0 shards) for Finalize. While the
   * attempt is the newest and the batch is validating, or has no plan yet; the same plan again is `set`.
   */
  setPlan(ref: BatchRef, attempt: number, plan: Plan): Promise<'set' | 'superseded'>;
  /** Live counts: an ADD after each commit. May drift when a worker dies in between; Plan and Finalize set them. */
  addCounts(ref: BatchRef, delta: { completed: number; failed: number; usage?: Usage }, now: number): Promise<void>;
  setCounts(ref: BatchRef, counts: RequestCounts, usage: Usage | undefined, now: number): Promise<void>;
  /** Until the receipt is written, which brings the exact list along. */
  setErrors(batchId: string, errors: BatchError[]): Promise<'set' | 'superseded'>;
  /**
   * Failed lines of a running batch, as far as its first `MAX_BATCH_ERRORS` have room. `full`: they have none, or the
   * receipt is written.
   */
  addErrors(batchId: string, errors: BatchError[]): Promise<'room_left' | 'full'>;
  /** The receipt and, where they are given, the exact first errors, in one write; unless a later gathering has written. */
  setReceipt(
    batchId: string,
    gathering: number,
    written: { receipt: Receipt; errors?: BatchError[] },
  ): Promise<'set' | 'superseded'>;
  /** Takes the next attempt if `from` is still the newest. It only gathers where an outcome is set with it, or stands. */
  takeAttempt(
    ref: BatchRef,
    from: number,
    progress: { idleAttempts: number; committedAtAttempt: number; outcome?: Outcome },
  ): Promise<'taken' | 'superseded'>;
  /** Takes the next notification number if `from` is still the newest, and none has delivered or given up. */
  takeNotification(ref: BatchRef, from: number): Promise<'taken' | 'superseded'>;
  /** What an attempt has come to, unless a later one has been noted; a delivery is noted in any case, and stays. */
  setDelivery(ref: BatchRef, delivery: Delivery, deliveredAt: number | undefined, now: number): Promise<void>;
  /** When the check looks at the batch next; `undefined` takes it off the due index (ended and notified). */
  setDue(ref: BatchRef, dueAt: number | undefined): Promise<void>;
  /** Batches due at `now`, oldest first: a hint, read and checked before anything is done. */
  listDue(now: number, limit: number): Promise<BatchRef[]>;
  /** Puts a batch on the due index unless it is there. */
  restoreDue(ref: BatchRef, dueAt: number): Promise<'restored' | 'there'>;
  /**
   * Batches that the due index should name and does not: open, or ended and not yet notified. Reads one of `parts` parts
   * of the narrow list index from end to end, and the heads of those that it may be about. Some at a time, or none, so
   * that the caller can look at its time.
   */
  listMissingDue(now: number, options: { part: number; parts: number }): AsyncIterable<MissingDue[]>;
};

/** `unreadable`: it is not on the index, but its head is not as it should be and does not say whether it ought to be. */
export type MissingDue = { ref: BatchRef; found: 'missing' } | { ref: BatchRef; found: 'unreadable'; error: unknown };

export type ControlStore = {
  get(batchId: string): Promise<Control | undefined>;
  /** Tells workers to stop. The first reason stays, but a cancel replaces any. */
  stop(batchId: string, reason: NonNullable<Control['reason']>): Promise<void>;
};

export type ShardStore = {
  /** Takes the shard: epoch + 1, deaths + 1 (a commit sets them to 0, or to what it says). Creates the record the first time. */
  claim(batchId: string, range: ShardRange): Promise<ShardRecord | 'sealed'>;
  /**
   * One conditional write: `epoch`, `commits` as given and not sealed. `lost`: drop the part and stop at once. The same
   * commit again is `committed`. Where it throws nothing is known: the part must stay.
   */
  commit(batchId: string, commit: ShardCommit): Promise<'committed' | 'lost'>;
  /**
   * The worker ends in order: takes its death back. `attempts`, where given, replaces those of the unfinished lines (a
   * commit would have taken them along); `idle` counts the turn among those that finished nothing.
   */
  release(
    batchId: string,
    shard: number,
    epoch: number,
    end?: { attempts?: Record<string, number> | undefined; idle?: boolean },
  ): Promise<void>;
  /** Nothing can be committed after this. Creates the record where no worker ever took the shard. */
  seal(batchId: string, range: ShardRange): Promise<ShardRecord>;
  /** The record as it stands; undefined where no worker ever took the shard. */
  get(batchId: string, shard: number): Promise<ShardRecord | undefined>;
  /** All shard records of a batch, in no order. `shards`: how many its plan has, where there is one: less is to be read then. */
  list(batchId: string, shards?: number): AsyncIterable<ShardRecord>;
};

export type ApiKeyStore = {
  put(key: ApiKey): Promise<void>;
  findByHash(hash: string): Promise<ApiKey | undefined>;
  get(keyId: string): Promise<ApiKey | undefined>;
  /** Newest first; pages by `after` (a key id). */
  list(query: { take: number; after?: string; projectId?: string }): Promise<{ keys: ApiKey[]; hasMore: boolean }>;
  revoke(keyId: string, now: number): Promise<'revoked' | 'not_found'>;
};

export type WebhookSecretStore = {
  /** `candidate` is kept if the project has none yet. */
  getOrCreate(projectId: string, candidate: WebhookSecret): Promise<WebhookSecret>;
  get(projectId: string): Promise<WebhookSecret | undefined>;
  /** `next` becomes the secret if `from` still is it; else what stands. */
  rotate(projectId: string, from: WebhookSecret, next: WebhookSecret): Promise<WebhookSecret>;
};

/** `bodyHash`: of what was asked, defaults filled in; `sentHash`: of the body as it was sent, where that is known. */
export type IdempotencyRecord = { batchId: string; bodyHash: string; sentHash?: string | undefined; expiresAt: number };
export type IdempotencyStore = {
  /** Undefined where the key was not used, or its record has expired at `now`. */
  find(projectId: string, key: string, now: number): Promise<IdempotencyRecord | undefined>;
  /** Keeps `record` unless an unexpired one is there; answers the one that stands. */
  begin(projectId: string, key: string, record: IdempotencyRecord, now: number): Promise<IdempotencyRecord>;
};

export type Upload = {
  projectId: string;
  fileId: string;
  key: string;
  bytes: number;
  contentType?: string | undefined;
  createdAt: number;
  expiresAt: number;
};
export type UploadStore = {
  put(upload: Upload): Promise<void>;
  /** Undefined for another project's file or one that has expired at `now`. */
  get(projectId: string, fileId: string, now: number): Promise<Upload | undefined>;
};

/** The partial results of a running batch: one record a batch. */
export type SnapshotRecord = {
  /** Number of the newest snapshot that was begun, and when. */
  taken: number;
  takenAt: number;
  /** Those that are finished and not yet deleted, oldest first; each is what was committed at `asOf`. */
  ready: {
    snapshot: number;
    asOf: number;
    /** When it was finished: from here on the one before it is given to nobody. */
    readyAt: number;
    output?: StoredFile | undefined;
    errors?: StoredFile | undefined;
  }[];
};
export type SnapshotStore = {
  get(batchId: string): Promise<SnapshotRecord | undefined>;
  /** Begins the next snapshot if `from` (0: none yet) is still the newest. */
  take(batchId: string, from: number, now: number): Promise<'taken' | 'superseded'>;
  /** Adds a finished one, and forgets those in `drop`. */
  setReady(batchId: string, ready: SnapshotRecord['ready'][number], drop: readonly number[]): Promise<void>;
};

/** Which models are down as a whole: one record a model, read and written by all workers. */
export type CircuitStore = {
  /** Undefined where it was never opened, or long ago. */
  get(model: string): Promise<Circuit | undefined>;
  /** Opens it, or notes one more failure of the outage `seen`, unless that has changed since; answers what stands. */
  open(model: string, seen: OpenCircuit | undefined, now: number): Promise<Circuit>;
  /** Who gets it sends the one call that tells whether the model is back, and says how it went before `until`. */
  takeProbe(model: string, seen: OpenCircuit, probe: { prober: string; until: number }, now: number): Promise<boolean>;
  /** The probe that this prober took was not made: another may make it. */
  dropProbe(model: string, seen: OpenCircuit, prober: string): Promise<void>;
  /** The outage `seen` is over; a newer one stays. */
  close(model: string, seen: OpenCircuit, now: number): Promise<void>;
};

/** Calls of a model whose limit is configured: a record holds how far the model's time is taken, and each batch's part. */
export type CallShareStore = {
  /** Takes the next block, or answers when to come again; undefined where others were first each time it tried. */
  take(ask: ShareAsk & { costMs: number }, clock: Pick<Clock, 'now'>): Promise<TakenBlock | undefined>;
  /**
   * `to`: the end of a block whose last `unusedMs` are given back, unless others have taken behind it; `owedMs`: what calls
   * turned out to cost more than was taken for them. Tries a few times, then lets it be.
   */
  giveBack(
    back: ShareAsk & { to?: number; unusedMs: number; owedMs: number },
    clock: Pick<Clock, 'now'>,
  ): Promise<void>;
};
/** `record`: one of the model's `shareRecords`; `aheadMs`: as the last answer had it, 0 before the first. */
export type ShareAsk = { model: string; record: number; holder: BatchRef; aheadMs: number };

/** What a project has used of its quotas that begin anew with each stretch of time. */
export type QuotaStore = {
  /** Adds to the requests of the minute; answers how many they are with these. */
  countRequests(projectId: string, minute: QuotaWindow, count: number): Promise<number>;
  /** Adds one upload of `bytes` to the day's, unless they would be too many or too much. */
  countUpload(
    projectId: string,
    day: QuotaWindow,
    upload: { bytes: number; maxUploads: number; maxBytes: number },
  ): Promise<'counted' | 'full'>;
};

/** The places of a project's open batches. One is free again when its batch has ended, or was never made. */
export type OpenBatchStore = {
  /** Takes a place for a batch that is about to be made; again for the same batch, it is the same place. No limit: always. */
  take(ref: BatchRef, limit: number | undefined, now: number): Promise<'taken' | 'full'>;
  /** The batch is not made. */
  give(ref: BatchRef): Promise<void>;
};

/* ---------------------------------------------------------------- files */

export type FileInfo = {
  bytes: number;
  etag: string;
  contentEncoding?: string;
  /** When it was written: the bucket's lifecycle rules count from here. */
  modifiedAt: number;
};

/** The bucket. Bodies are streamed: nothing here ever holds a whole file but `readSmall` and `put`. */
export type FileStore = {
  info(key: string): Promise<FileInfo | undefined>;
  /**
   * Bytes `start`…`end` (exclusive; the whole file without range). With `ifMatch`, throws `FileChanged` if the ETag differs;
   * `FileMissing` if absent. With `passing`, a chunk is good until the next is asked for: its memory goes then.
   */
  read(
    key: string,
    options?: { start?: number; end?: number; ifMatch?: string; passing?: boolean },
  ): Promise<AsyncIterable<Uint8Array>>;
  readSmall(key: string, maxBytes: number): Promise<Uint8Array | undefined>;
  /** `attempts`: how often it was sent, where that is known. */
  put(key: string, body: Uint8Array | string, contentType?: string): Promise<{ etag: string; attempts?: number }>;
  /** A multipart upload of unknown length, in parts of `partBytes` (≥ 5 MiB), at most one part held. */
  upload(
    key: string,
    options?: { contentType?: string; partBytes?: number; resume?: UploadState },
  ): Promise<FileUpload>;
  delete(keys: string[]): Promise<void>;
  deletePrefix(prefix: string): Promise<void>;
  /** Good for `expiresSeconds`; `fileName` is what a browser saves it as. */
  signDownload(key: string, options: { expiresSeconds: number; fileName: string }): Promise<string>;
  /** A PUT of exactly `bytes` bytes of that type; without one, of any type. */
  signUpload(
    key: string,
    options: { expiresSeconds: number; bytes: number; contentType?: string | undefined },
  ): Promise<string>;
};

/** Enough to go on with an upload in another process. `bytes`: all that was written; `tail`: those after the last part. */
export type UploadState = { uploadId: string; parts: number; bytes: number; tail: Uint8Array };

export type FileUpload = {
  write(chunk: Uint8Array): Promise<void>;
  /** Ends the upload (an empty file too). Throws, leaving nothing behind, if the store refuses. */
  complete(): Promise<{ bytes: number; etag: string }>;
  /** Stops here, to be resumed elsewhere from the state. */
  suspend(): Promise<UploadState>;
  abort(): Promise<void>;
};

/* ---------------------------------------------------------------- input from outside */

export type OpenedSource = {
  body: AsyncIterable<Uint8Array>;
  /** Length of the whole source, where it is known. */
  bytes?: number;
  /** A strong validator, and whether ranges are served: what a resume needs. */
  etag?: string;
  acceptsRanges: boolean;
  gzip: boolean;
};

export type InputSource = {
  /**
   * Opens `https://`, `http://` or `s3://` for reading from byte `start` on. Throws `InputRejected` with
   * `input_file_unreachable`, `input_file_forbidden` or `input_file_changed` (`ifRange` no longer holds).
   */
  open(url: string, options?: { start?: number; ifRange?: string; signal?: AbortSignal }): Promise<OpenedSource>;
};

/* ---------------------------------------------------------------- workflow */

/** `outdated`: it failed because its definition is of a version that the code does not know (a deploy, a rollback). */
export type ExecutionStatus = 'running' | 'succeeded' | 'failed' | 'timed_out' | 'aborted' | 'outdated' | 'not_found';

export type Workflow = {
  /** Starts `<batchId>-<attempt>`. `already` where that name exists, running or ended. */
  startBatch(ref: BatchRef, attempt: number): Promise<'started' | 'already'>;
  startNotification(ref: BatchRef, notification: number): Promise<'started' | 'already'>;
  describeBatch(batchId: string, attempt: number): Promise<ExecutionStatus>;
  describeNotification(batchId: string, notification: number): Promise<ExecutionStatus>;
  stopBatch(batchId: string, attempt: number, cause: string): Promise<void>;
  startSnapshot(ref: BatchRef, snapshot: number): Promise<'started' | 'already'>;
  describeSnapshot(batchId: string, snapshot: number): Promise<ExecutionStatus>;
};

/* ---------------------------------------------------------------- models */

/** One call in OpenAI's dialect. */
export type ModelCall = {
  endpoint: ModelEndpoint;
  /** The provider's own name of the model is already in the body. */
  readonly body: Record<string, unknown>;
  /** The body as the client wrote it, text or its bytes: what is sent. Absent where it was made here. */
  json?: string | Uint8Array | undefined;
  /** The same over all retries of a line, so that a provider that honours it bills once. */
  idempotencyKey: string;
  timeoutMs: number;
  maxAnswerBytes: number;
  signal?: AbortSignal;
};

/**
 * What came back. `answered`: any HTTP answer, whatever its status; `body` as it came. The rest had no usable answer.
 * Providers never retry: that is the worker's.
 */
export type ModelAnswer =
  | { kind: 'answered'; status: number; body: Uint8Array; retryAfterMs?: number }
  | { kind: 'timeout' }
  | { kind: 'network'; reason: string }
  | { kind: 'too_large' };

export type ModelProvider = { call(call: ModelCall): Promise<ModelAnswer>; close?(): Promise<void> };

/** Providers by the name that `models.json` gives them. */
export type ModelProviders = { get(providerName: string): ModelProvider };

/* ---------------------------------------------------------------- notifications */

export type ReceiverAnswer =
  | { kind: 'answered'; status: number; retryAfterMs?: number }
  | { kind: 'unreachable'; reason: string };

export type Receiver = {
  /** POSTs to a client's URL. Follows no redirect; throws nothing for what the receiver does wrong. */
  post(
    url: string,
    options: { headers: Record<string, string>; body: string; timeoutMs: number },
  ): Promise<ReceiverAnswer>;
};

/* ---------------------------------------------------------------- secrets */

/** `accepted`: the key, and for a while after a rotation the one before it. */
export type OperatorKey = { accepted(): Promise<readonly string[]> };

/**
 * Verifies a bearer token that is not an API key (a JWT). `undefined`: not valid, for whatever reason. Throws where
 * nothing can be said about it.
 */
export type TokenVerifier = { verify(token: string): Promise<{ projectId: string; role: Role } | undefined> };

/* ---------------------------------------------------------------- */

/** A file that a record names has changed or is gone. */
export class FileChanged extends Error {
  override readonly name = 'FileChanged';
}
export class FileMissing extends Error {
  override readonly name = 'FileMissing';
}
