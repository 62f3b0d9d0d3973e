/**
 * Gives the memory of bytes that nobody uses any more back at once, where no others share it. Left to the collector it
 * goes when V8 next looks through the whole heap; and since it counts as heap, V8 does that for each few megabytes.
 */
export function freeMemory({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
