import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Piece } from './bodyFiles.ts';
import type { Checksum, ChecksumAlgorithm } from './checksums.ts';
import { S3Error } from './s3Error.ts';

/** Headers that are given back with an object: content type, encoding and so on, and `x-amz-meta-…`. */
export type StoredHeaders = Record<string, string>;

export type StoredObject = {
  /** Names the pieces that make up the body. */
  objectId: string;
  bytes: number;
  /** Without quotes. */
  etag: string;
  modifiedMs: number;
  headers: StoredHeaders;
  checksum?: Checksum;
};

export type Upload = {
  uploadId: string;
  bucket: string;
  key: string;
  startedMs: number;
  headers: StoredHeaders;
  checksumAlgorithm?: ChecksumAlgorithm;
  checksumType?: Checksum['type'];
};

export type Part = {
  partNumber: number;
  bodyId: string;
  bytes: number;
  etag: string;
  modifiedMs: number;
  checksum?: { algorithm: ChecksumAlgorithm; value: string };
};

// TEXT compares by UTF-8 octets, which is the order that S3 lists in. A row is there or it is not: what a killed
// process had committed is in the write-ahead log.
const SCHEMA = `
  PRAGMA locking_mode = EXCLUSIVE;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  PRAGMA wal_autocheckpoint = 4000;
  CREATE TABLE IF NOT EXISTS buckets (name TEXT PRIMARY KEY) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS objects (bucket TEXT, key TEXT, object_id TEXT NOT NULL, bytes INTEGER NOT NULL,
    etag TEXT NOT NULL, modified_ms INTEGER NOT NULL, headers TEXT NOT NULL, checksum TEXT,
    PRIMARY KEY (bucket, key)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS pieces (object_id TEXT, start INTEGER, bytes INTEGER NOT NULL, body_id TEXT NOT NULL,
    content BLOB, PRIMARY KEY (object_id, start));
  CREATE TABLE IF NOT EXISTS uploads (upload_id TEXT PRIMARY KEY, upload TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS parts (upload_id TEXT, part_number INTEGER, body_id TEXT NOT NULL, part TEXT NOT NULL,
    PRIMARY KEY (upload_id, part_number)) WITHOUT ROWID;
`;

const STATEMENTS = {
  begin: 'BEGIN IMMEDIATE',
  commit: 'COMMIT',
  rollback: 'ROLLBACK',
  buckets: 'SELECT name FROM buckets',
  addBucket: 'INSERT INTO buckets (name) VALUES (?) ON CONFLICT DO NOTHING',
  find: 'SELECT * FROM objects WHERE bucket = ? AND key = ?',
  put: 'INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
  remove: 'DELETE FROM objects WHERE bucket = ? AND key = ?',
  listFrom: 'SELECT * FROM objects WHERE bucket = ? AND key >= ? ORDER BY key LIMIT ?',
  listAfter: 'SELECT * FROM objects WHERE bucket = ? AND key > ? ORDER BY key LIMIT ?',
  addPiece: 'INSERT INTO pieces VALUES (?, ?, ?, ?, ?)',
  pieces:
    'SELECT start, bytes, body_id, content FROM pieces WHERE object_id = ? AND start < ? AND start + bytes > ? ORDER BY start',
  removePieces: 'DELETE FROM pieces WHERE object_id = ? RETURNING body_id, content IS NULL AS filed',
  addUpload: 'INSERT INTO uploads VALUES (?, ?)',
  findUpload: 'SELECT upload FROM uploads WHERE upload_id = ?',
  removeUpload: 'DELETE FROM uploads WHERE upload_id = ?',
  findPart: 'SELECT body_id FROM parts WHERE upload_id = ? AND part_number = ?',
  putPart: 'INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?)',
  parts: 'SELECT part FROM parts WHERE upload_id = ? AND part_number > ? ORDER BY part_number LIMIT ?',
  removeParts: 'DELETE FROM parts WHERE upload_id = ? RETURNING body_id',
  bodies: 'SELECT body_id FROM pieces WHERE content IS NULL UNION ALL SELECT body_id FROM parts',
} as const;

/** What is in the buckets. Every call is one transaction and runs to its end before anything else does. */
export class ObjectIndex {
  readonly #database: DatabaseSync;
  readonly #buckets: Set<string>;
  readonly #sql: Record<keyof typeof STATEMENTS, StatementSync>;

  constructor(file: string) {
    this.#database = new DatabaseSync(file);
    this.#database.exec(SCHEMA);
    // Object.fromEntries forgets the names that it was given.
    this.#sql = Object.fromEntries(
      Object.entries(STATEMENTS).map(([name, sql]) => [name, this.#database.prepare(sql)]),
    ) as Record<keyof typeof STATEMENTS, StatementSync>;
    this.#buckets = new Set(this.#sql.buckets.all().map((row) => String(row.name)));
  }

  close(): void {
    this.#database.close();
  }

  createBucket(name: string): void {
    this.#sql.addBucket.run(name);
    this.#buckets.add(name);
  }

  requireBucket(name: string): void {
    if (!this.#buckets.has(name))
      throw new S3Error('NoSuchBucket', 'The specified bucket does not exist', { BucketName: name });
  }

  find(bucket: string, key: string): StoredObject | undefined {
    const row = this.#sql.find.get(bucket, key);
    return row && toObject(row);
  }

  /** Pieces of the body that hold bytes `start`…`end` (exclusive). */
  pieces(objectId: string, start: number, end: number): Piece[] {
    return this.#sql.pieces.all(objectId, end, start).map((row) => ({
      bodyId: String(row.body_id),
      start: Number(row.start),
      bytes: Number(row.bytes),
      ...(row.content instanceof Uint8Array
        ? { content: Buffer.from(row.content.buffer, row.content.byteOffset, row.content.byteLength) }
        : {}),
    }));
  }

  /**
   * Puts the object in the place of what was there, if `allow` does not throw. Answers the files that this frees.
   * `upload` ends together with it.
   */
  put(
    at: { bucket: string; key: string },
    object: StoredObject,
    pieces: Piece[],
    allow: (existing: StoredObject | undefined) => void,
    upload?: Upload,
  ): string[] {
    return this.#transaction(() => {
      const existing = this.find(at.bucket, at.key);
      allow(existing);
      const freed = existing ? this.#removePieces(existing) : [];
      const checksum = object.checksum ? JSON.stringify(object.checksum) : null;
      this.#sql.put.run(
        at.bucket,
        at.key,
        object.objectId,
        object.bytes,
        object.etag,
        object.modifiedMs,
        JSON.stringify(object.headers),
        checksum,
      );
      for (const piece of pieces)
        this.#sql.addPiece.run(object.objectId, piece.start, piece.bytes, piece.bodyId, piece.content ?? null);
      if (!upload) return freed;
      const used = new Set(pieces.map((piece) => piece.bodyId));
      this.#sql.removeUpload.run(upload.uploadId);
      return [...freed, ...bodyIds(this.#sql.removeParts.all(upload.uploadId)).filter((id) => !used.has(id))];
    });
  }

  /** Answers the files that this frees; none where there was no such object. */
  remove(at: { bucket: string; key: string }, allow: (existing: StoredObject | undefined) => void): string[] {
    return this.#transaction(() => {
      const existing = this.find(at.bucket, at.key);
      allow(existing);
      if (!existing) return [];
      this.#sql.remove.run(at.bucket, at.key);
      return this.#removePieces(existing);
    });
  }

  /** Objects in order of their keys' UTF-8 octets, from a key on. */
  list(bucket: string, from: { key: string; inclusive: boolean }, limit: number): (StoredObject & { key: string })[] {
    const statement = from.inclusive ? this.#sql.listFrom : this.#sql.listAfter;
    return statement.all(bucket, from.key, limit).map((row) => ({ ...toObject(row), key: String(row.key) }));
  }

  addUpload(upload: Upload): void {
    this.#sql.addUpload.run(upload.uploadId, JSON.stringify(upload));
  }

  findUpload(uploadId: string): Upload | undefined {
    const row = this.#sql.findUpload.get(uploadId);
    return row && (JSON.parse(String(row.upload)) as Upload); // Written by addUpload, and by nothing else.
  }

  /** Answers the file that this frees, or `no_upload`: it ended while the part was on its way. */
  putPart(uploadId: string, part: Part): string[] | 'no_upload' {
    return this.#transaction(() => {
      if (!this.#sql.findUpload.get(uploadId)) return 'no_upload';
      const replaced = bodyIds(this.#sql.findPart.all(uploadId, part.partNumber));
      this.#sql.putPart.run(uploadId, part.partNumber, part.bodyId, JSON.stringify(part));
      return replaced;
    });
  }

  parts(uploadId: string, after: number, limit: number): Part[] {
    // Written by putPart, and by nothing else.
    return this.#sql.parts.all(uploadId, after, limit).map((row) => JSON.parse(String(row.part)) as Part);
  }

  /** Answers the files that this frees. */
  removeUpload(uploadId: string): string[] {
    return this.#transaction(() => {
      this.#sql.removeUpload.run(uploadId);
      return bodyIds(this.#sql.removeParts.all(uploadId));
    });
  }

  /** Every file that a row names. */
  liveBodies(): Set<string> {
    const live = new Set<string>();
    for (const row of this.#sql.bodies.iterate()) live.add(String(row.body_id));
    return live;
  }

  #removePieces(object: StoredObject): string[] {
    return bodyIds(this.#sql.removePieces.all(object.objectId).filter((row) => row.filed === 1));
  }

  #transaction<T>(work: () => T): T {
    this.#sql.begin.run();
    try {
      const result = work();
      this.#sql.commit.run();
      return result;
    } catch (error) {
      if (this.#database.isTransaction) this.#sql.rollback.run();
      throw error;
    }
  }
}

type Row = Record<string, unknown>;

const bodyIds = (rows: Row[]) => rows.map((row) => String(row.body_id));

function toObject(row: Row): StoredObject {
  return {
    objectId: String(row.object_id),
    bytes: Number(row.bytes),
    etag: String(row.etag),
    modifiedMs: Number(row.modified_ms),
    headers: JSON.parse(String(row.headers)) as StoredHeaders, // Written by put, and by nothing else.
    ...(row.checksum === null ? {} : { checksum: JSON.parse(String(row.checksum)) as Checksum }),
  };
}
