/** Rules for options that layers, fits and training share. Rules for any operation are in gpu/options. */
import { checkOption, Engine, instanceOf, isList, type OptionRule, oneOf, optionRules } from "../gpu/index.js";
import { type Activation, activations } from "../ops/index.js";
import { FitMemory } from "./factorised/fitMemory.js";

const isWhole = (value: unknown, least: number): boolean => Number.isSafeInteger(value) && (value as number) >= least;

/** The same whole number in all directions, or a list of `count` of them. */
const extents = (count: number, least: number, directions: string): OptionRule => ({
  needs: `a whole number, ${least} or more, or ${directions} of them`,
  is: (value) =>
    isWhole(value, least) ||
    (Array.isArray(value) && value.length === count && value.every((extent) => isWhole(extent, least))),
});

const isSide = (value: unknown): boolean =>
  isWhole(value, 0) || (isList(value) && value.length === 2 && value.every((zeros) => isWhole(zeros, 0)));

const padding = (count: number, directions: string, same = true): OptionRule => {
  const numbers = extents(count, 0, directions);
  return {
    needs: `${numbers.needs} with [before, after] for one where they differ${same ? ', or "same"' : ""}`,
    is: (value) =>
      (same && value === "same") ||
      numbers.is(value) ||
      (isList(value) && value.length === count && value.every(isSide)),
  };
};

const isStart = (value: unknown): boolean => {
  if (value === "uniform" || value === "he") return true;
  if (typeof value !== "object" || value === null) return false;
  const { deviation, biasBound = 0, ...others } = value as Record<string, unknown>;
  const { is } = optionRules.atLeastZero;
  return is(deviation) && is(biasBound) && Object.keys(others).length === 0;
};

/** The rules of the options that layers are made from. */
export const layerRules = {
  pair: extents(2, 1, "[vertical, horizontal]"),
  triple: extents(3, 1, "[depth, vertical, horizontal]"),
  pairFromZero: extents(2, 0, "[vertical, horizontal]"),
  /** a padding without "same" */
  cuts2d: padding(2, "[vertical, horizontal]", false),
  padding1d: {
    needs: 'a whole number, 0 or more, [before, after], or "same"',
    is: (value) => value === "same" || isSide(value),
  },
  padding2d: padding(2, "[vertical, horizontal]"),
  padding3d: padding(3, "[depth, vertical, horizontal]"),
  activation: oneOf(...(Object.keys(activations) as Activation[])),
  bias: {
    needs: "true, false, or its start values in a Float32Array",
    is: (value) => typeof value === "boolean" || value instanceof Float32Array,
  },
  values: { needs: "a Float32Array of start values", is: (value) => value instanceof Float32Array },
  valueLists: {
    needs: "a list of Float32Arrays of start values",
    is: (value) => Array.isArray(value) && value.every((values) => values instanceof Float32Array),
  },
  start: { needs: '"uniform", "he" or { deviation, biasBound }', is: isStart },
  /** the start of a factorised layer */
  factorStart: oneOf("uniform", "he"),
  modes: {
    needs: "a list of whole numbers, 1 or more",
    is: (value) => isList(value) && value.length > 0 && value.every((extent) => isWhole(extent, 1)),
  },
  twoRanks: {
    needs: "two whole numbers, 1 or more: the rank of the input channels and that of the output channels",
    is: (value) => isList(value) && value.length === 2 && value.every((rank) => isWhole(rank, 1)),
  },
} satisfies Record<string, OptionRule>;

/** The rules of a fit's seed, and of what it knows about the layer's inputs. */
export const dataRules = {
  covariance: {
    needs: "numbers in a Float64Array or Float32Array",
    is: (value) => value instanceof Float64Array || value instanceof Float32Array,
  },
  ridge: optionRules.atLeastZero,
  seed: optionRules.count,
  memory: instanceOf(FitMemory, "a FitMemory"),
} satisfies Record<string, OptionRule>;

const engineRule = instanceOf(Engine, "an Engine: await Engine.create(), in Node await openEngine()");

/** @throws TenfoldError unless `engine` is an Engine */
export function assertEngine(operation: string, engine: Engine): void {
  checkOption(operation, "engine", engine, engineRule);
}
