import {
  type DType,
  formatShape,
  isList,
  Scheduler,
  ShapeError,
  shown,
  sizeOf,
  TenfoldError,
  Tensor,
} from "../gpu/index.js";

/**
 * Every op checks first that its first argument is a Scheduler and that its operands are Tensors; without that, JavaScript throws a
 * TypeError from somewhere inside. `tensors` and `lists` of them go by the names of the op's parameters.
 */
export function assertCall(
  operation: string,
  s: Scheduler,
  tensors: Readonly<Record<string, Tensor<DType>>> = {},
  lists: Readonly<Record<string, readonly Tensor<DType>[]>> = {},
): void {
  if (!(s instanceof Scheduler))
    throw new TenfoldError(
      `${operation}: the first argument is ${shown(s)}, needs a Scheduler: engine.run((s) => …) or engine.scheduler() give one`,
    );
  for (const name in tensors) if (!(tensors[name] instanceof Tensor)) failTensor(operation, name, tensors[name]);
  for (const name in lists) {
    const list = lists[name];
    if (!Array.isArray(list))
      throw new TenfoldError(`${operation}: ${name} is ${shown(list)}, needs a list of Tensors`);
    for (let at = 0; at < list.length; at++)
      if (!(list[at] instanceof Tensor)) failTensor(operation, `${name}[${at}]`, list[at]);
  }
}

function failTensor(operation: string, name: string, value: unknown): never {
  const advice = isList(value) ? "; engine.tensor(shape, data) makes one" : "";
  throw new TenfoldError(`${operation}: ${name} is ${shown(value)}, needs a Tensor${advice}`);
}

/** Throws `mttkrp (mode 1): factor 2 is 30×5, expected 40×5` unless the tensor has this shape. */
export function assertShape(operation: string, what: string, tensor: Tensor<DType>, expected: readonly number[]): void {
  if (!(tensor instanceof Tensor)) failTensor(operation, what, tensor);
  if (tensor.order !== expected.length || expected.some((extent, mode) => tensor.shape[mode] !== extent))
    throw new ShapeError(`${operation}: ${what} is ${formatShape(tensor.shape)}, expected ${formatShape(expected)}`);
}

/** Throws unless there is one bias for every output. */
export function assertBias(operation: string, bias: Tensor, outputs: number): void {
  if (!(bias instanceof Tensor)) failTensor(operation, "bias", bias);
  if (bias.size !== outputs)
    throw new ShapeError(`${operation}: bias is ${formatShape(bias.shape)}, expected ${outputs}`);
}

/** Throws unless `mode` is one of the tensor's. */
export function assertMode(operation: string, tensor: Tensor<DType>, mode: number): void {
  if (!Number.isInteger(mode) || mode < 0 || mode >= tensor.order)
    throw new ShapeError(
      `${operation}: mode ${mode} of a tensor of shape ${formatShape(tensor.shape)}, needs 0 to ${tensor.order - 1}`,
    );
}

/**
 * A row-major tensor as every mode-n operation sees it: before×extent×after, the modes in front of n and behind it each
 * flattened into one.
 */
export function threeNumbers(shape: readonly number[], mode: number): [before: number, extent: number, after: number] {
  return [sizeOf(shape.slice(0, mode)), shape[mode]!, sizeOf(shape.slice(mode + 1))];
}
