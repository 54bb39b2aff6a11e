import { inspect } from 'node:util';

/**
 * A value that prints as `[secret]` however it is logged, joined, serialised or inspected.
 * `reveal` is for the places that send, publish, store or digest it; a test lists them.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}
