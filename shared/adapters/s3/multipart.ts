import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  ListPartsCommand,
  PutObjectCommand,
  type S3Client,
  S3ServiceException,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { FileMissing, type FileUpload, type UploadState } from '../../ports.ts';

/** S3 takes no smaller part, but for the last (S3 user guide, "Multipart upload limits"). */
export const MIN_PART_BYTES = 5 * 1024 * 1024;
export const DEFAULT_PART_BYTES = 8 * 1024 * 1024;
// 10,000 parts are the most. Doubling every 1,000 reaches 5 TB from 5 MiB parts, and 8 GiB fit before the first doubling.
const PARTS_PER_SIZE = 1000;
/** A file of a few lines takes little memory; one that fills its part has been copied twice on the way there. */
const FIRST_BUFFER_BYTES = 64 * 1024;
const GROWTH = 8;

/** Size of the `n`th part, from 1. */
export const partSize = (partBytes: number, n: number) => partBytes * 2 ** Math.floor((n - 1) / PARTS_PER_SIZE);

type Target = { client: S3Client; bucket: string; key: string; contentType: string; partBytes: number };

/** Opens an upload: nothing is sent before the first part is full. With `resume`, goes on where that one stopped. */
export async function openUpload(target: Target, resume?: UploadState): Promise<FileUpload> {
  if (target.partBytes < MIN_PART_BYTES) throw new Error(`A part has at least ${MIN_PART_BYTES} bytes.`);
  const upload = new MultipartUpload(target);
  if (resume) await upload.resume(resume);
  return upload;
}

/** Holds the part being filled, and has at most one other on its way. What fits one part goes up as one PutObject. */
class MultipartUpload implements FileUpload {
  readonly #target: Target;
  #uploadId: string | undefined;
  #parts: CompletedPart[] = [];
  #bytes = 0;
  #buffer: Buffer = Buffer.alloc(0);
  #filled = 0;
  /** Of the part before, once that is sent: made anew for each part they would be most of what is collected. */
  #spare: Buffer | undefined;
  #inFlight: Promise<void> | undefined;
  #failure: { error: unknown } | undefined;
  #ended = false;

  constructor(target: Target) {
    this.#target = target;
  }

  async resume(state: UploadState): Promise<void> {
    const { client, bucket, key } = this.#target;
    let marker: string | undefined;
    let listedBytes = 0;
    const parts: CompletedPart[] = [];
    do {
      const page = await client
        .send(
          new ListPartsCommand({
            Bucket: bucket,
            Key: key,
            UploadId: state.uploadId,
            ...(marker === undefined ? {} : { PartNumberMarker: marker }),
          }),
        )
        .catch((error) => {
          if (isNoSuchUpload(error))
            throw new FileMissing(`The upload to ${key} is gone; it cannot be resumed.`, { cause: error });
          throw error;
        });
      for (const part of page.Parts ?? []) {
        // A part beyond the state is what its writer had not yet counted: it is written anew.
        if ((part.PartNumber ?? 0) > state.parts) continue;
        parts.push(completedPart(part.PartNumber, part));
        listedBytes += part.Size ?? 0;
      }
      marker = page.IsTruncated ? page.NextPartNumberMarker : undefined;
    } while (marker !== undefined && parts.length < state.parts);
    if (parts.length !== state.parts || listedBytes + state.tail.length !== state.bytes)
      throw new FileMissing(`The upload to ${key} does not hold the parts that its state names.`);
    this.#uploadId = state.uploadId;
    this.#parts = parts;
    this.#bytes = state.bytes;
    // The tail is counted in the state's bytes already.
    this.#buffer = Buffer.from(state.tail);
    this.#filled = state.tail.length;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#requireOpen();
    this.#bytes += chunk.length;
    for (let rest = chunk; rest.length > 0; ) {
      const size = partSize(this.#target.partBytes, this.#parts.length + 1);
      const taken = rest.subarray(0, size - this.#filled);
      this.#grow(this.#filled + taken.length, size);
      this.#buffer.set(taken, this.#filled);
      this.#filled += taken.length;
      rest = rest.subarray(taken.length);
      // A full part stays until more follows: what fits one part is no multipart upload.
      if (this.#filled >= size && rest.length > 0) await this.#sendPart();
    }
  }

  async complete(): Promise<{ bytes: number; etag: string }> {
    this.#requireOpen();
    try {
      if (this.#uploadId === undefined && this.#parts.length === 0) return await this.#put();
      if (this.#filled > 0 || this.#parts.length === 0) await this.#sendPart();
      await this.#settle();
      return await this.#completeParts();
    } catch (error) {
      // What failed is what the caller must hear of; a part that stays behind goes by the bucket's lifecycle rule.
      await this.abort().catch(() => undefined);
      throw error;
    } finally {
      this.#ended = true;
    }
  }

  async suspend(): Promise<UploadState> {
    this.#requireOpen();
    await this.#begin();
    // Keeps the tail, which goes into a record, under the size of a part.
    if (this.#filled >= MIN_PART_BYTES) await this.#sendPart();
    await this.#settle();
    this.#ended = true;
    return {
      uploadId: await this.#begin(),
      parts: this.#parts.length,
      bytes: this.#bytes,
      tail: Uint8Array.from(this.#buffer.subarray(0, this.#filled)),
    };
  }

  async abort(): Promise<void> {
    this.#ended = true;
    this.#buffer = Buffer.alloc(0);
    this.#spare = undefined;
    // A part that arrives after the abort would stay: first let it land.
    await this.#inFlight;
    if (this.#uploadId === undefined) return;
    const { client, bucket, key } = this.#target;
    try {
      await client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: this.#uploadId }));
    } catch (error) {
      if (!isNoSuchUpload(error)) throw error;
    }
  }

  #requireOpen(): void {
    if (this.#ended) throw new Error(`The upload to ${this.#target.key} has ended.`);
    if (this.#failure) throw this.#failure.error;
  }

  /** Grows the first part's buffer in few steps, each of which is garbage, so that a small file never costs a whole part. */
  #grow(needed: number, most: number): void {
    if (needed <= this.#buffer.length) return;
    const wanted = this.#parts.length > 0 ? most : Math.max(needed, this.#buffer.length * GROWTH, FIRST_BUFFER_BYTES);
    const grown = Buffer.allocUnsafeSlow(Math.min(wanted, most));
    this.#buffer.copy(grown, 0, 0, this.#filled);
    this.#buffer = grown;
  }

  async #begin(): Promise<string> {
    if (this.#uploadId !== undefined) return this.#uploadId;
    const { client, bucket, key, contentType } = this.#target;
    const { UploadId } = await client.send(
      new CreateMultipartUploadCommand({
        Bucket: bucket,
        Key: key,
        ContentType: contentType,
        ChecksumAlgorithm: 'CRC32',
      }),
    );
    if (UploadId === undefined) throw new Error(`S3 named no upload for ${key}.`);
    this.#uploadId = UploadId;
    return UploadId;
  }

  /** Waits for the part before, then sends this one and waits for nothing. */
  async #sendPart(): Promise<void> {
    const uploadId = await this.#begin();
    await this.#settle();
    const { client, bucket, key } = this.#target;
    const partNumber = this.#parts.length + 1;
    const sent = this.#buffer;
    const body = sent.subarray(0, this.#filled);
    this.#buffer = this.#spare ?? Buffer.alloc(0);
    this.#spare = undefined;
    this.#filled = 0;
    const part: CompletedPart = { PartNumber: partNumber };
    this.#parts.push(part);
    this.#inFlight = client
      .send(
        new UploadPartCommand({
          Bucket: bucket,
          Key: key,
          UploadId: uploadId,
          PartNumber: partNumber,
          Body: body,
          ContentLength: body.length,
          ChecksumAlgorithm: 'CRC32',
        }),
      )
      .then((answer) => {
        Object.assign(part, completedPart(partNumber, answer));
        this.#spare = sent;
      })
      .catch((error: unknown) => {
        // Thrown by the next call: nobody waits for this promise until then.
        this.#failure = { error };
      });
  }

  async #settle(): Promise<void> {
    await this.#inFlight;
    this.#inFlight = undefined;
    if (this.#failure) throw this.#failure.error;
  }

  async #put(): Promise<{ bytes: number; etag: string }> {
    const { client, bucket, key, contentType } = this.#target;
    const { ETag } = await client.send(
      new PutObjectCommand({
        Bucket: bucket,
        Key: key,
        Body: this.#buffer.subarray(0, this.#filled),
        ContentLength: this.#filled,
        ContentType: contentType,
        ChecksumAlgorithm: 'CRC32',
      }),
    );
    this.#buffer = Buffer.alloc(0);
    return { bytes: this.#bytes, etag: requireEtag(ETag, key) };
  }

  async #completeParts(): Promise<{ bytes: number; etag: string }> {
    const { client, bucket, key } = this.#target;
    const uploadId = await this.#begin();
    try {
      const { ETag } = await client.send(
        new CompleteMultipartUploadCommand({
          Bucket: bucket,
          Key: key,
          UploadId: uploadId,
          MultipartUpload: { Parts: this.#parts },
        }),
      );
      return { bytes: this.#bytes, etag: requireEtag(ETag, key) };
    } catch (error) {
      if (!isNoSuchUpload(error)) throw error;
      // The client's own retry of a Complete whose answer was lost: S3 has made the object and forgotten the upload.
      const made = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key })).catch(() => undefined);
      if (made?.ContentLength !== this.#bytes || !made.ETag?.endsWith(`-${this.#parts.length}"`)) throw error;
      return { bytes: this.#bytes, etag: made.ETag };
    }
  }
}

// By name: only Abort's errors are modelled in the SDK, so elsewhere no class tells them apart.
const isNoSuchUpload = (error: unknown) => error instanceof S3ServiceException && error.name === 'NoSuchUpload';

function completedPart(
  partNumber: number | undefined,
  part: { ETag?: string | undefined; ChecksumCRC32?: string | undefined },
): CompletedPart {
  return { PartNumber: partNumber, ETag: part.ETag, ChecksumCRC32: part.ChecksumCRC32 };
}

export function requireEtag(etag: string | undefined, key: string): string {
  if (etag === undefined) throw new Error(`S3 answered no ETag for ${key}.`);
  return etag;
}
