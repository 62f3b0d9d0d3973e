/** One thing that was looked at. `differences` name the first places where it does not hold. */
export type Check = { check: string; expected: string; found: string; ok: boolean; differences: string[] };

/** More are counted, not named: a file that is another one differs in every line. */
const NAMED_DIFFERENCES = 10;

/** Counts what does not hold and keeps the first of it. */
export class Differences {
  count = 0;
  readonly named: string[] = [];
  add(difference: string): void {
    this.count++;
    if (this.named.length < NAMED_DIFFERENCES) this.named.push(difference);
  }
}

export function equal(check: string, expected: string | number, found: string | number): Check {
  return { check, expected: String(expected), found: String(found), ok: expected === found, differences: [] };
}

export function none(check: string, { count, named }: Differences): Check {
  const more = count > named.length ? [`… and ${count - named.length} more`] : [];
  const found = count === 0 ? 'holds' : `${count} ${count === 1 ? 'difference' : 'differences'}`;
  return { check, expected: 'holds', found, ok: count === 0, differences: [...named, ...more] };
}
