/**
 * What is known of an adapter, and every choice that depends on it, as data: {@link RULES}. A new kind of adapter is one column
 * here; `tenfold doctor --rules` prints the table, and bench/README.md has it.
 */
import { type Engine, isSoftware, type Kernel, type OptionRule, optionRules, TenfoldError } from "../gpu/index.js";
import { declareChoice } from "../gpu/variants.js";

/** Facts of an engine's adapter and device. */
export interface Facts {
  /** as `engine.adapterName` has it */
  name: string;
  /** whether it computes on the processor, which its name says (`isSoftware`) */
  software: boolean;
  /** invocations of a subgroup where all have as many and subgroup kernels are made for them (4 or 8), else 0 */
  lanes: number;
  vendor: string;
  architecture: string;
  features: { has(name: string): boolean };
  limits: Readonly<GPUSupportedLimits>;
}

/**
 * Kinds of adapters: the columns of {@link RULES}. An adapter is of the first kind that it matches. A rule without a value for a
 * kind has that of the kind which this one is `like`. Software adapters whose subgroups have no fixed size count as GPUs: the
 * kernels of the other columns need one.
 */
export const KINDS = {
  /** a few cores, whose vector units are its subgroups; it compiles slowly */
  swiftshader: { title: "SwiftShader", is: ({ lanes }: Facts) => lanes === 4 },
  /** the same, with wider vector units and an optimising compiler */
  lavapipe: { title: "lavapipe", like: "swiftshader", is: ({ lanes }: Facts) => lanes === 8 },
  gpu: { title: "GPU", is: (_: Facts) => true },
} as const;

export type Kind = keyof typeof KINDS;
type Liked = { [K in Kind]: (typeof KINDS)[K] extends { like: Kind } ? K : never }[Kind];
/** A value a kind of adapter. */
export type Columns<V> = Record<Exclude<Kind, Liked>, V> & Partial<Record<Liked, V>>;

/** What is said of a rule. */
export interface Note {
  /** what the value is */
  decides: string;
  /** of numbers; empty where there is none */
  unit: string;
  /** why the values are what they are, and how that was measured */
  because: string;
}

/** A choice that is a number: a size, or up to where something is done. */
export interface NumberRule {
  values: Columns<number>;
  /** which numbers it can be forced to */
  numbers: OptionRule;
  /** names of some numbers, by which it can be forced too */
  words?: Readonly<Record<string, number>>;
}

/** A choice between kernels that do the same: a probe keeps the fastest of these, or the only one is taken. */
export interface KernelRule {
  kernels: Columns<readonly string[]>;
}

const upTo = (least: number, most: number): OptionRule => ({
  needs: `a whole number from ${least} to ${most}`,
  is: (value) => Number.isInteger(value) && (value as number) >= least && (value as number) <= most,
});
const powerOfTwo = (least: number, most: number): OptionRule => ({
  needs: `a power of two from ${least} to ${most}`,
  is: (value) => upTo(least, most).is(value) && Number.isInteger(Math.log2(value as number)),
});
/** up to or from where something is done */
const threshold: OptionRule = {
  needs: "a whole number, 0 or more, or Infinity",
  is: (value) => value === Number.POSITIVE_INFINITY || optionRules.count.is(value),
};
const NEVER = { never: Number.POSITIVE_INFINITY };

/** Which kernels an adapter chooses among, by family. A family without a rule chooses among all that the device can run. */
const KERNELS = {
  matmul: { swiftshader: ["subgroup", "register"], gpu: ["tiled", "register"] },
  mttkrp: { swiftshader: ["subgroup", "register"], gpu: ["tiled", "register"] },
  kruskal: { swiftshader: ["subgroup", "register"], gpu: ["register"] },
  residual: { swiftshader: ["subgroup", "register"], gpu: ["register"] },
  conv2d: { swiftshader: ["subgroup"], gpu: ["register"] },
  trainDense: { swiftshader: ["subgroup"], gpu: ["register"] },
} satisfies Record<string, Columns<readonly string[]>>;

/** Sizes, and up to where something is done. */
const NUMBERS = {
  splitWorkgroups: { values: { swiftshader: 256, gpu: 256 }, numbers: optionRules.positive },
  splitTiles: { values: { swiftshader: 64, gpu: 64 }, numbers: optionRules.positive },
  laneRuns: { values: { swiftshader: 2, lavapipe: 1, gpu: 1 }, numbers: upTo(1, 2) },
  vectorsAlongSum: { values: { swiftshader: 0, lavapipe: 1, gpu: 0 }, numbers: upTo(0, 1), words: { no: 0, yes: 1 } },
  mergeBelow: { values: { swiftshader: 24, gpu: 64 }, numbers: optionRules.count },
  mergeFrom: { values: { swiftshader: 2 ** 18, gpu: 2 ** 18 }, numbers: optionRules.count },
  sumTeam: { values: { swiftshader: 1, gpu: 16 }, numbers: powerOfTwo(1, 16) },
  readAhead: { values: { swiftshader: 1, gpu: 16 }, numbers: upTo(1, 16) },
  reduceByLane: {
    values: { swiftshader: Number.POSITIVE_INFINITY, gpu: 32 },
    numbers: threshold,
    words: { always: Number.POSITIVE_INFINITY },
  },
  reduceLaneSums: { values: { swiftshader: 256, gpu: 16384 }, numbers: optionRules.positive },
  reduceLaneTerms: { values: { swiftshader: 256, gpu: 64 }, numbers: optionRules.positive },
  reduceGroupSums: { values: { swiftshader: 512, gpu: 512 }, numbers: optionRules.positive },
  reduceGroupTerms: { values: { swiftshader: 1024, gpu: 1024 }, numbers: optionRules.positive },
  permuteTiles: { values: { swiftshader: Number.POSITIVE_INFINITY, gpu: 8 }, numbers: threshold, words: NEVER },
  gradientWorkgroups: { values: { swiftshader: 64, gpu: 64 }, numbers: optionRules.positive },
  tucker2: {
    values: { swiftshader: 0, lavapipe: 2 ** 17, gpu: 2 ** 23 },
    numbers: threshold,
    words: { fused: Number.POSITIVE_INFINITY, chain: 0 },
  },
  lowRank: {
    values: { swiftshader: 4, gpu: 0 },
    numbers: threshold,
    words: { fused: Number.POSITIVE_INFINITY, chain: 0 },
  },
  gaussNewtonRows: {
    values: { swiftshader: 2 ** 14, gpu: 2 ** 14 },
    numbers: threshold,
    words: { sole: Number.POSITIVE_INFINITY, chunks: 0 },
  },
  gaussNewtonSmall: {
    values: { swiftshader: 2 ** 17, gpu: 2 ** 19 },
    numbers: threshold,
    words: { joined: Number.POSITIVE_INFINITY, ops: 0 },
  },
  gaussNewtonShared: { values: { swiftshader: 2 ** 20, gpu: 2 ** 24 }, numbers: optionRules.positive },
  lowRankRank: { values: { swiftshader: 64, gpu: 64 }, numbers: upTo(0, 128) },
  lowRankWeights: { values: { swiftshader: 2 ** 14, gpu: 2 ** 14 }, numbers: threshold },
  training: {
    values: { swiftshader: 2 ** 20, gpu: 2 ** 16 },
    numbers: threshold,
    words: { fused: Number.POSITIVE_INFINITY, layers: 0 },
  },
  trainingWork: { values: { swiftshader: 2 ** 27, gpu: 2 ** 27 }, numbers: optionRules.positive },
  soleWorkgroup: { values: { swiftshader: 4, lavapipe: 8, gpu: 256 }, numbers: powerOfTwo(4, 256) },
  factoriseInside: { values: { swiftshader: 0, gpu: 40 }, numbers: upTo(0, 40) },
  choleskyAlone: {
    values: { swiftshader: 56, gpu: 128 },
    numbers: threshold,
    words: { always: Number.POSITIVE_INFINITY },
  },
  jacobiAlone: { values: { swiftshader: 128, gpu: 128 }, numbers: upTo(0, 128) },
  jacobiTeam: { values: { swiftshader: 1, gpu: 16 }, numbers: powerOfTwo(1, 16) },
  jacobiTeamMiddle: { values: { swiftshader: 1, gpu: 8 }, numbers: powerOfTwo(1, 16) },
  hostEigenvectors: {
    values: { swiftshader: Number.POSITIVE_INFINITY, gpu: 320 },
    numbers: threshold,
    words: { always: Number.POSITIVE_INFINITY },
  },
  reflectorWidth: { values: { swiftshader: 4, lavapipe: 8, gpu: 256 }, numbers: powerOfTwo(4, 256) },
  reflectorTeam: { values: { swiftshader: 4, lavapipe: 8, gpu: 32 }, numbers: powerOfTwo(4, 32) },
  reductionRows: { values: { swiftshader: 32, gpu: 32 }, numbers: optionRules.positive },
  reductionRowsLarge: { values: { swiftshader: 64, gpu: 32 }, numbers: optionRules.positive },
  reductionWidth: { values: { swiftshader: 4, lavapipe: 8, gpu: 64 }, numbers: powerOfTwo(4, 256) },
  reductionProductRows: { values: { swiftshader: 16, gpu: 4 }, numbers: powerOfTwo(1, 16) },
  fuseSweeps: {
    values: { swiftshader: 2 ** 20, gpu: 2 ** 19 },
    numbers: threshold,
    words: { fused: Number.POSITIVE_INFINITY, updates: 0 },
  },
  fuseAls: { values: { swiftshader: 16, gpu: 32 }, numbers: upTo(0, 32) },
  alsRows: { values: { swiftshader: 64, gpu: 16 }, numbers: optionRules.positive },
  alsWorkgroups: { values: { swiftshader: 4, gpu: 64 }, numbers: optionRules.positive },
  dispatchCost: { values: { swiftshader: 1e5, gpu: 1e5 }, numbers: optionRules.count },
  elementCost: { values: { swiftshader: 4, gpu: 4 }, numbers: optionRules.count },
  mergedElements: { values: { swiftshader: 2 ** 25, gpu: 2 ** 25 }, numbers: threshold },
} satisfies Record<string, NumberRule>;

export type NumberName = keyof typeof NUMBERS;
export type KernelName = keyof typeof KERNELS;

/** What every rule decides, in which unit, and why its values are what they are. */
const NOTES: Readonly<Record<KernelName | NumberName, Note>> = {
  matmul: {
    decides: "kernels of matrix products, Gram matrices and mode products",
    unit: "",
    because:
      "tiles in workgroup memory take 2 to 3 times as long on software adapters, and SwiftShader takes seconds to compile them",
  },
  mttkrp: {
    decides: "kernels of MTTKRP, a matricised tensor times a Khatri-Rao product",
    unit: "",
    because: "as for matmul",
  },
  kruskal: {
    decides: "kernels that write a Kruskal tensor, or what it lacks of another",
    unit: "",
    because: "the subgroup kernel is made for subgroups of 4 or 8",
  },
  residual: {
    decides: "kernels of a Kruskal tensor's residual",
    unit: "",
    because: "as for kruskal",
  },
  conv2d: {
    decides: "kernel of conv2d and of its input gradient; with one output a group always register",
    unit: "",
    because:
      "a depthwise convolution has one row for a subgroup's tile of four or more: registers are 1 to 1.5 times as fast on lavapipe, 1.2 to 2 on SwiftShader",
  },
  trainDense: {
    decides: "kernel that trains a small dense network by one workgroup",
    unit: "",
    because:
      "in software a load costs more than the multiplications that it feeds: lanes hand loads round by broadcasts, and one subgroup needs no barriers",
  },
  splitWorkgroups: {
    decides: "workgroups of 256 invocations that keep the adapter busy: longer sums are cut for them",
    unit: "workgroups",
    because: "an H200 has 132 multiprocessors; on software adapters it only counts where tiled is forced",
  },
  splitTiles: {
    decides: "subgroups' tiles of 16 rows that keep the adapter busy: longer sums are cut for them",
    unit: "tiles",
    because: "software has a few cores; GPUs have no such tiles",
  },
  laneRuns: {
    decides: "runs of columns that a lane of a subgroup kernel works on at most",
    unit: "runs",
    because:
      "two halve the loads of the other operand: 0.8 to 0.9 of the time on SwiftShader where the columns lie in vec4s and are many, else 1.0 to 1.7",
  },
  vectorsAlongSum: {
    decides: "whether subgroup kernels read vec4s along the inner sum",
    unit: "",
    because: "SwiftShader gains nothing and takes three times as long to compile it",
  },
  mergeBelow: {
    decides: "extent of the innermost contracted mode below which MTTKRP merges it with its neighbour",
    unit: "steps",
    because:
      "merged runs of 20 steps take 0.8 to 0.9 of the time on software adapters, of 28 to 40 between 0.8 and 1.1; a GPU stages anew for each run",
  },
  mergeFrom: {
    decides: "size of the tensor from which MTTKRP merges modes",
    unit: "elements",
    because: "the Khatri-Rao product of two factors is a dispatch more",
  },
  sumTeam: {
    decides: "invocations that share a sum whose terms lie far apart, at most",
    unit: "invocations",
    because: "a GPU's invocation waits for each term in turn",
  },
  readAhead: {
    decides: "terms that an invocation reads before it adds them, at most",
    unit: "terms",
    because:
      "a GPU would wait for each in turn, as loops with a guard against going on for ever are not unrolled; on software there is nothing to wait for",
  },
  reduceByLane: {
    decides: "extent of an axis up to which an invocation makes a sum of it, beyond it a workgroup",
    unit: "terms",
    because:
      "software reads side by side or not at the same cost, and a barrier costs it a hundred terms; sums of 8 neighbours or more are always made by invocations",
  },
  reduceLaneSums: {
    decides: "sums by invocations that keep the adapter busy: longer ones are cut for them",
    unit: "sums",
    because: "a few cores, or many thousands of invocations",
  },
  reduceLaneTerms: {
    decides: "terms that are worth an invocation's part of a cut sum",
    unit: "terms",
    because: "the parts are added up by a second dispatch",
  },
  reduceGroupSums: {
    decides: "sums by workgroups that keep the adapter busy: longer ones are cut for them",
    unit: "sums",
    because: "an H200 has 132 multiprocessors; software makes sums by invocations",
  },
  reduceGroupTerms: {
    decides: "terms that are worth a workgroup's part of a cut sum",
    unit: "terms",
    because: "the parts are added up by a second dispatch",
  },
  permuteTiles: {
    decides: "extent of both axes from which a permutation goes by tiles of 32×32 in workgroup memory",
    unit: "elements",
    because: "a GPU reads neighbours at once; on software reads far apart cost the same",
  },
  gradientWorkgroups: {
    decides: "workgroups of a convolution's weight gradient that keep the adapter busy: its sums are cut for them",
    unit: "workgroups",
    because: "measured on software adapters; an estimate for GPUs",
  },
  tucker2: {
    decides: "multiplications of a batch up to which a Tucker-2 convolution is one dispatch",
    unit: "multiplications",
    because:
      "one dispatch takes 0.5 to 0.7 of the time of three for a single LeNet image on lavapipe; SwiftShader gains nothing; for larger work three are 1.5 to 3 times as fast, for they keep more sums in registers; an estimate for GPUs",
  },
  lowRank: {
    decides: "samples up to which two linear layers in turn are one dispatch",
    unit: "samples",
    because:
      "two products are 2 to 8 times as fast on software adapters at batch 100, and on an H200 always (0.7 of the time for one sample, 0.6 for a hundred)",
  },
  lowRankRank: {
    decides: "rank up to which two linear layers in turn are one dispatch",
    unit: "columns",
    because: "it is work that one workgroup does in less time than a dispatch costs",
  },
  lowRankWeights: {
    decides: "weights up to which two linear layers in turn are one dispatch",
    unit: "weights",
    because: "as for lowRankRank",
  },
  gaussNewtonRows: {
    decides: "ΣIₙ·R² up to which one workgroup works on all rows of a CP model in a Gauss-Newton iteration",
    unit: "multiplications",
    because:
      "three dispatches instead of one cost more than the rows do: on lavapipe up to 30³ R8 and 1000×5×5 R5; on a GPU an estimate",
  },
  gaussNewtonSmall: {
    decides:
      "entries of X times R up to which a Gauss-Newton iteration evaluates a CP model in two dispatches, not by the ops for large tensors",
    unit: "multiplications",
    because:
      "on lavapipe two dispatches take 0.9 of the time of the ops at 12³ R3, as long at 20³ R3, 1.5 times as long at 32³ R3; on a GPU dispatches are what small models cost: an estimate",
  },
  gaussNewtonShared: {
    decides: "entries of X times R, of all CP models together, up to which starts run side by side",
    unit: "multiplications",
    because:
      "on lavapipe the ops for one large model take half as long as the kernel that models share, at 48³ R10 and 64³ R3; on a GPU an estimate",
  },
  training: {
    decides: "multiplications of a forward pass up to which one workgroup trains a dense network",
    unit: "multiplications",
    because:
      "in software a workgroup has one of a few cores (784-10-10 at batch 100 takes 0.4 of the time of a dispatch an op, 784-128-10 as long), on a GPU one of a hundred",
  },
  trainingWork: {
    decides: "multiplications that one dispatch of training does at most",
    unit: "multiplications",
    because: "a quarter of a second on a slow adapter: drivers end a dispatch that takes two seconds",
  },
  soleWorkgroup: {
    decides: "invocations of a kernel that is one workgroup, at most",
    unit: "invocations",
    because: "in software a workgroup runs on one core, and every further subgroup only makes barriers dearer",
  },
  factoriseInside: {
    decides: "rows up to which Cholesky and Jacobi keep a matrix in workgroup memory",
    unit: "rows",
    because: "a step in storage takes a GPU ten times as long; SwiftShader compiles that for two seconds",
  },
  choleskyAlone: {
    decides: "rows up to which one workgroup factorises a matrix by Cholesky; beyond, the whole grid does it by blocks",
    unit: "rows",
    because:
      "blocks are three dispatches for 32 columns: on software adapters they take 1.2 to 1.3 times as long at 48 rows, 0.7 at 64, 0.1 to 0.2 at 573; an estimate for GPUs",
  },
  jacobiAlone: {
    decides: "rows or columns up to which one workgroup does all Jacobi rotations",
    unit: "rows",
    because: "beyond, every round is a dispatch over the whole grid",
  },
  jacobiTeam: {
    decides: "invocations that rotate a pair of columns in a Jacobi SVD of up to 32 or more than 128 columns",
    unit: "invocations",
    because: "16 pairs by 16 invocations each are a workgroup of 256; a subgroup rotates a pair a lane",
  },
  jacobiTeamMiddle: {
    decides: "invocations that rotate a pair of columns in a Jacobi SVD of 33 to 128 columns",
    unit: "invocations",
    because: "there are more pairs to rotate at once",
  },
  hostEigenvectors: {
    decides: "rows up to which compressOnnx finds eigenvectors of a matrix on the host, in f64",
    unit: "rows",
    because:
      "most of the work is products, which the runtime makes where the adapter is software; 320 is an estimate for GPUs",
  },
  reflectorWidth: {
    decides: "invocations of a workgroup of Householder reflections",
    unit: "invocations",
    because: "as for soleWorkgroup",
  },
  reflectorTeam: {
    decides: "invocations of a workgroup of Householder reflections that share a column",
    unit: "invocations",
    because: "one subgroup takes a column at a time, 256 invocations eight",
  },
  reductionRows: {
    decides: "rows of a part of the product in a step of tridiagonal or bidiagonal reduction, up to 256 rows",
    unit: "rows",
    because: "parts enough for all cores, and few to add up",
  },
  reductionRowsLarge: {
    decides: "rows of a part of the product in a step of tridiagonal or bidiagonal reduction, beyond 256 rows",
    unit: "rows",
    because: "as for reductionRows",
  },
  reductionWidth: {
    decides: "invocations of a workgroup of the products in a step of tridiagonal or bidiagonal reduction",
    unit: "invocations",
    because: "as for soleWorkgroup",
  },
  reductionProductRows: {
    decides: "rows that a workgroup takes of the second product in a step of bidiagonal reduction",
    unit: "rows",
    because: "a few cores take many rows each, a GPU's many workgroups a few",
  },
  fuseSweeps: {
    decides: "multiplications of an MTTKRP up to which the sweeps of a PARAFAC2 iteration are one workgroup",
    unit: "multiplications",
    because:
      "they are 40 dispatches otherwise, most of them with less work than a dispatch costs; one workgroup has one of a few cores in software, and of a hundred on a GPU",
  },
  fuseAls: {
    decides: "rank up to which an update of CP-ALS is one dispatch",
    unit: "columns",
    because: "a few lanes of a processor are slower beyond 16; the kernel has room for 32",
  },
  alsRows: {
    decides: "rows that a workgroup solves at least in an update of CP-ALS by one dispatch",
    unit: "rows",
    because: "every workgroup factorises the same small matrix for itself",
  },
  alsWorkgroups: {
    decides: "workgroups of an update of CP-ALS by one dispatch, at most",
    unit: "workgroups",
    because: "as for alsRows",
  },
  dispatchCost: {
    decides: "cost of a dispatch, where a tensor train layer chooses the order of its contraction",
    unit: "multiplications",
    because: "on top of what it multiplies and moves; an estimate for all adapters",
  },
  elementCost: {
    decides:
      "cost of an element that is read or written, where a tensor train layer chooses the order of its contraction",
    unit: "multiplications",
    because: "as for dispatchCost",
  },
  mergedElements: {
    decides: "elements up to which a tensor train layer merges neighbouring cores",
    unit: "elements",
    because: "they are 128 MiB, the default limit of a storage binding",
  },
};

/**
 * Every choice that depends on the adapter, in the order of the table. For reports: ops read the values alone, so that the notes take
 * no room in a program that bundles them.
 */
export const RULES = /* @__PURE__ */ withNotes();

function withNotes(): Readonly<Record<KernelName, KernelRule & Note> & Record<NumberName, NumberRule & Note>> {
  const kernels = Object.entries(KERNELS).map(([name, columns]) => [name, { kernels: columns }] as const);
  const rows = [...kernels, ...Object.entries(NUMBERS)].map(([name, rule]) => [
    name,
    { ...rule, ...NOTES[name as NumberName] },
  ]);
  return Object.fromEntries(rows);
}

for (const [name, { words = {}, numbers }] of Object.entries<NumberRule>(NUMBERS))
  declareChoice(name, Object.keys(words), numbers);

const engines = new WeakMap<Engine, { facts: Facts; kind: Kind }>();

/** The facts of an engine's adapter and the kind that it is of, found once. For this file and families. */
export function adapterOf(engine: Engine): { facts: Facts; kind: Kind } {
  let adapter = engines.get(engine);
  if (!adapter) {
    const facts = factsOf(engine);
    const [kind] = Object.entries(KINDS).find(([, { is }]) => is(facts)) as [Kind, unknown];
    engines.set(engine, (adapter = { facts, kind }));
  }
  return adapter;
}

/** The kind of an engine's adapter: whose column of {@link RULES} is in force. For reports. */
export const kindOf = (engine: Engine): Kind => adapterOf(engine).kind;

function factsOf(engine: Engine): Facts {
  const { adapterInfo, features, limits } = engine.device;
  const { vendor, architecture, subgroupMinSize: least, subgroupMaxSize: most } = adapterInfo;
  const name = engine.adapterName;
  const fixed = features.has("subgroups") && least === most && (least === 4 || least === 8);
  return { name, software: isSoftware(name), lanes: fixed ? least : 0, vendor, architecture, features, limits };
}

/** The value of a column, that of the kind which it is like where it has none. */
export function columnOf<V>(columns: Columns<V>, kind: Kind): V {
  const value = (columns as Partial<Record<Kind, V>>)[kind];
  if (value !== undefined) return value;
  return columnOf(columns, (KINDS[kind] as { like: Kind }).like);
}

/** The number that a rule has on this engine: that of its kind of adapter, or what `variants` forces. */
export function setting(engine: Engine, name: NumberName): number {
  const rule: NumberRule = NUMBERS[name];
  const forced = engine.forced(name);
  if (forced === undefined) return columnOf(rule.values, adapterOf(engine).kind);
  return typeof forced === "number" ? forced : rule.words![forced]!;
}

/** Families of kernels by name: kernels that do the same, of which an adapter takes one. */
const families = new Map<string, Readonly<Record<string, Kernel>>>();

/**
 * Makes a family known: its kernels can be forced by name, and benchmarks measure them beside each other. Names with a comma are
 * shapes of the kernel before it: `tiled, thin` is taken and forced as `tiled`.
 */
export function declareFamily<K extends Record<string, Kernel>>(name: string, kernels: K): K {
  families.set(name, kernels);
  declareChoice(name, Object.keys(kernels).filter(isVariant));
  return kernels;
}

const isVariant = (kernel: string): boolean => !kernel.includes(",");

/** The variants of a choice that this device can be made to take, in the order in which its family or rule has them. */
export function alternativesOf(engine: Engine, name: string): string[] {
  const kernels = families.get(name);
  const rule = NUMBERS[name as NumberName] as NumberRule | undefined;
  if (!kernels) {
    if (!rule?.words) throw new TenfoldError(`alternativesOf: no choice between variants is named "${name}"`);
    return Object.keys(rule.words);
  }
  const { facts } = adapterOf(engine);
  // subgroup kernels have the size of a subgroup as a constant
  const needsLanes = ({ source }: Kernel): boolean =>
    source.features.includes("subgroups") && "LANES" in source.constants;
  const runs = (kernel: Kernel): boolean =>
    (facts.lanes > 0 || !needsLanes(kernel)) && kernel.source.features.every((feature) => facts.features.has(feature));
  return Object.keys(kernels).filter((kernel) => isVariant(kernel) && runs(kernels[kernel]!));
}

/** The kernels of a family that this engine chooses among: the one that `variants` forces, or those of the rule. */
export function candidatesOf(engine: Engine, family: string): readonly string[] {
  const forced = engine.forced(family);
  const columns = KERNELS[family as KernelName] as Columns<readonly string[]> | undefined;
  if (forced === undefined && columns) return columnOf(columns, adapterOf(engine).kind);
  const all = alternativesOf(engine, family);
  if (forced === undefined) return all;
  if (!all.includes(forced as string))
    throw new TenfoldError(
      `${family}: the adapter (${engine.adapterName}) has no variant "${forced}"; there are ${all.join(", ")}`,
    );
  return [forced as string];
}

/** Invocations of a subgroup where the subgroup kernel of a family is among those that the engine chooses from, else 0. */
export const lanesOf = (engine: Engine, family: string): number =>
  candidatesOf(engine, family).includes("subgroup") ? adapterOf(engine).facts.lanes : 0;
