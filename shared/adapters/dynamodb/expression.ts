/**
 * Names and values of one DynamoDB request, collected while its expressions are written: every name goes in as `#name`,
 * so that no reserved word matters, every value as `:n`.
 */
export class Expression {
  readonly names: Record<string, string> = {};
  readonly values: Record<string, unknown> = {};
  #count = 0;

  /** A document path: `enteredAt.failed` becomes `#enteredAt.#failed`. */
  name(path: string): string {
    return path
      .split('.')
      .map((part) => {
        this.names[`#${part}`] = part;
        return `#${part}`;
      })
      .join('.');
  }

  value(value: unknown): string {
    const name = `:${this.#count++}`;
    this.values[name] = value;
    return name;
  }

  /** `path = value` */
  equals(path: string, value: unknown): string {
    return `${this.name(path)} = ${this.value(value)}`;
  }

  /** `path IN (values)` */
  oneOf(path: string, values: readonly unknown[]): string {
    return `${this.name(path)} IN (${values.map((value) => this.value(value)).join(', ')})`;
  }

  exists(path: string): string {
    return `attribute_exists(${this.name(path)})`;
  }

  absent(path: string): string {
    return `attribute_not_exists(${this.name(path)})`;
  }

  /** The value that stands, or this one where there is none: for the right side of a SET. */
  standingOr(path: string, value: unknown): string {
    return `if_not_exists(${this.name(path)}, ${this.value(value)})`;
  }

  /** A SET of the value unless one stands. */
  setOnce(path: string, value: unknown): string {
    return `${this.name(path)} = ${this.standingOr(path, value)}`;
  }

  /** A SET that adds to a number that is there. */
  increase(path: string, by: number): string {
    return `${this.name(path)} = ${this.name(path)} + ${this.value(by)}`;
  }

  /** Names and values as a request wants them: an empty map is refused by DynamoDB. */
  get attributes(): {
    ExpressionAttributeNames?: Record<string, string>;
    ExpressionAttributeValues?: Record<string, unknown>;
  } {
    return {
      ...(Object.keys(this.names).length > 0 && { ExpressionAttributeNames: this.names }),
      ...(Object.keys(this.values).length > 0 && { ExpressionAttributeValues: this.values }),
    };
  }
}
