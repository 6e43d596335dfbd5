import type { Scheduler, Tensor } from "../gpu/index.js";
import type { Counts, Pass } from "./layer.js";

/** What makes one value of several in a network, without parameters. Another join is a subclass. */
export abstract class Join {
  abstract readonly name: string;
  /**
   * Shape of one sample's output, from the shapes of one sample of every input.
   *
   * @throws ShapeError where the inputs do not fit each other
   */
  abstract outputShape(inputs: readonly (readonly number[])[]): number[];
  /** Outputs batch×… of inputs batch×…: a temporary of the schedule. */
  abstract forward(s: Scheduler, inputs: readonly Tensor[], pass: Pass): Tensor;
  /**
   * Takes the output's gradient and gives those of the inputs, `dy` itself where they are the same.
   *
   * @param wanted by input: whether its gradient is needed; null may stand for the others
   */
  abstract backward(s: Scheduler, dy: Tensor, wanted: readonly boolean[]): (Tensor | null)[];
  /** For one sample of these shapes. */
  abstract counts(inputs: readonly (readonly number[])[]): Counts;
}
