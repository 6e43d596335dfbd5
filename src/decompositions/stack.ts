import { sizeOf, type Tensor } from "../gpu/index.js";

/** Several tensors in one, so that one dispatch reaches all of them. Each begins where a view may begin. */
export class Stack {
  readonly size: number;
  readonly #starts: readonly number[];

  constructor(
    readonly shapes: readonly (readonly number[])[],
    /** in which order the tensors lie */
    order: readonly number[],
  ) {
    const starts: number[] = [];
    let end = 0;
    for (const part of order) {
      starts[part] = end;
      end += 64 * Math.ceil(sizeOf(shapes[part]!) / 64);
    }
    this.size = end;
    this.#starts = starts;
  }

  /** A part of a stack. */
  of(stack: Tensor, part: number): Tensor {
    const shape = this.shapes[part]!;
    const start = this.#starts[part]!;
    return stack.rows(start, start + sizeOf(shape)).reshape([...shape]);
  }

  /** From where to where these parts lie, which are neighbours. */
  rangeOf(parts: readonly number[]): [start: number, stop: number] {
    if (!parts.length) return [0, 0];
    const starts = parts.map((part) => this.#starts[part]!);
    return [Math.min(...starts), Math.max(...parts.map((part) => this.#starts[part]! + sizeOf(this.shapes[part]!)))];
  }
}

/** Factors that lie in one tensor. */
export interface StackedFactors {
  stack: Stack;
  /** of the stack's size, or longer */
  tensor: Tensor;
}
