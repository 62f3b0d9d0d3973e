/** The contract is broken. The soak ends with the first. */
export class Violation extends Error {
  override readonly name = 'Violation';
  readonly batchId: string | undefined;
  constructor(batchId: string | undefined, message: string) {
    super(message);
    this.batchId = batchId;
  }
}

/** Throws unless it holds. */
export function hold(condition: boolean, batchId: string, message: () => string): asserts condition {
  if (!condition) throw new Violation(batchId, message());
}

/** Throws unless both are the same as JSON. */
export function holdSame(actual: unknown, expected: unknown, batchId: string, what: string): void {
  const [got, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  hold(got === wanted, batchId, () => `${what}: ${got} instead of ${wanted}`);
}
