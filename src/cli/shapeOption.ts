import { InvalidArgumentError } from "commander";

/** Reads a value of `--shape`, which may be given several times: `x=1x3x224x224`. */
export function shapeOption(text: string, before: Record<string, number[]> = {}): Record<string, number[]> {
  const [, name, extents] = /^(.+)=(\d+(?:[x×,]\d+)*)$/.exec(text) ?? [];
  if (!name || !extents) throw new InvalidArgumentError("It needs a name and extents, as in x=1x3x224x224.");
  return { ...before, [name]: extents.split(/[x×,]/).map(Number) };
}
