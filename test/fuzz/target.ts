/** Something that takes input from outside. A new one is a file in `targets/`, a row in `targets.ts`, and a corpus. */
export type Target = {
  /** Large inputs, made here instead of being kept: a megabyte of one thing. */
  large(): Buffer[];
  /**
   * Answers in a word what came of the input. Throws where it came out otherwise than it went in, got no error of the
   * contract, or broke something.
   */
  check(input: Buffer): Promise<string> | string;
  close?(): Promise<void>;
};

/** A whole number that is the same for the same input: what a target chooses beside its input. */
export function numberOf(input: Buffer): number {
  let mixed = 2_166_136_261;
  for (const byte of input.subarray(0, 4096)) mixed = Math.imul(mixed ^ byte, 16_777_619);
  return mixed >>> 0;
}
