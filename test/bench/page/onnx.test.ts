/** A network of one's own on the page, as values. */
import { describe, expect, it } from "vitest";
import { filesOf } from "../../../bench/page/drops.js";
import type { ModelInfo, Version } from "../../../bench/page/onnx/messages.js";
import { extentsOf, openInputs, parseShapes, randomFeeds } from "../../../bench/page/onnx/shapes.js";
import {
  canRun,
  comparedOf,
  type Event,
  factsOf,
  imagesOf,
  initial,
  jobOf,
  nothingWords,
  obstacle,
  parse,
  type State,
  update,
  verdict,
  written,
} from "../../../bench/page/onnx/state.js";

const model: ModelInfo = {
  name: "net.onnx",
  bytes: 1e6,
  inputs: [{ name: "x", dtype: "float32", shape: ["batch", 3, 8, 8] }],
  open: [],
  weights: 250_000,
  multiplications: 1000,
  layers: [{ id: "y", name: "conv", op: "Conv", shape: [8, 3, 3, 3], weights: 216, multiplications: 600 }],
  leftAlone: [],
};
const version = (id: string, more: Partial<Version>): Version => ({
  ...{ id, title: id, file: null, bytes: 5e5, reason: null, multiplications: 500, error: 0.02, agreement: 0.99 },
  ...{ time: { before: 2, after: 1 }, verified: 100, worst: null, warnings: [], layers: null },
  ...{ isInt8: id.includes("int8"), isLowRank: id.includes("low") },
  ...more,
});
const sample = (at: number, error: number, [before, after]: readonly [number, number]) => ({
  ...{ sample: at, error, agreement: Number(before === after), classes: { before, after }, image: null },
});
const stateOf = (events: readonly Event[], query = ""): State =>
  events.reduce(update, initial(new URLSearchParams(query)));
const sampled: Event = { type: "samples", samples: { name: "s.npz", count: 100 } };
const opened: Event = { type: "model", model };
const told = (...versions: Version[]): string =>
  verdict(stateOf([opened, sampled, ...versions.map((one): Event => ({ type: "version", version: one }))]));

describe("a network of one's own", () => {
  it("keeps its settings in the URL, and refuses what it does not know", () => {
    const settings = parse(new URLSearchParams("data=file&cost=time&ratio=3.5&int8=no&shapes=x%3D1x3x8x8"));
    expect(parse(new URLSearchParams(written(settings)))).toEqual(settings);
    expect(parse(new URLSearchParams("cost=money&ratio=900"))).toMatchObject({ cost: "multiplications", ratio: 2 });
  });

  it("reads how images become samples, and says where that is none", () => {
    const query = "data=file&mean=0.1%2C0.2%2C0.3&std=1%2F255&bgr=yes&resize=stretch";
    const settings = parse(new URLSearchParams(query));
    expect(written(settings)).toMatchObject({ mean: "0.1,0.2,0.3", std: "1/255", bgr: "yes", resize: "stretch" });
    expect(parse(new URLSearchParams(written(settings)))).toEqual(settings);
    expect(imagesOf(settings)).toEqual({ mean: [0.1, 0.2, 0.3], std: [1 / 255], bgr: true, stretch: true });
    expect(imagesOf(parse(new URLSearchParams()))).toEqual({ mean: [0], std: [1], bgr: false, stretch: false });
    for (const wrong of ["std=0", "std=a", "mean=1,2"]) {
      expect(imagesOf(parse(new URLSearchParams(wrong)))).toBeNull();
      // only where there are images
      expect(canRun(stateOf([opened, sampled], wrong))).toBe(true);
      const state = stateOf([opened, sampled, { type: "images", count: 40 }], wrong);
      expect([canRun(state), obstacle(state)!.words]).toEqual([
        false,
        expect.stringMatching(/^The mean or the standard/),
      ]);
    }
  });

  it("sets versions side by side, by the samples that they change most", () => {
    const low = version("low", { worst: [sample(4, 0.5, [1, 7]), sample(2, 0.9, [3, 3]), sample(0, 0.1, [2, 2])] });
    const int8 = version("int8", { worst: [sample(0, 0.3, [2, 5]), sample(4, 0.2, [1, 7])] });
    const { versions, samples } = comparedOf([low, version("timed only", {}), int8]);
    expect(versions.map(({ id }) => id)).toEqual(["low", "int8"]);
    expect(
      samples.map(({ sample, original, versions }) => [
        sample,
        original,
        ...versions.map((one) => one?.classes?.after),
      ]),
    ).toEqual([
      [4, 1, 7, 7],
      [0, 2, 2, 5],
      [2, 3, 3, undefined],
    ]);
    expect(comparedOf([version("timed only", {})]).samples).toEqual([]);
  });

  it("reads shapes, and fills in those that the model has", () => {
    expect(parseShapes("1x3x8x8", ["x"])).toEqual({ x: [1, 3, 8, 8] });
    expect(parseShapes("x=1×3; mask = 2, 5", ["x", "mask"])).toEqual({ x: [1, 3], mask: [2, 5] });
    for (const wrong of ["1x3", "y=1x3", "x=0x3", "x=a"]) expect(parseShapes(wrong, ["x", "mask"])).toBeNull();
    const inputs = [
      { name: "x", dtype: "float32", shape: ["batch", 3, "width"] },
      { name: "ids", dtype: "int64", shape: [null, 4] },
    ];
    expect(openInputs(inputs)).toEqual(["x"]);
    const shapes = extentsOf(inputs, { x: [1, 3, 5] });
    expect(shapes).toEqual({ x: [1, 3, 5], ids: [1, 4] });
    const feeds = randomFeeds(inputs, shapes);
    expect(feeds.x!.data.length).toBe(15);
    expect(feeds.ids!.data).toBeInstanceOf(BigInt64Array);
    expect(() => randomFeeds(inputs, { ids: [1, 4] })).toThrow(/shape of x is open/);
  });

  it("says why it cannot start", () => {
    const open = { type: "model", model: { ...model, open: ["x"] } } as const;
    expect(canRun(stateOf([opened]))).toBe(true);
    expect(obstacle(stateOf([open]))!.advice).toContain("as in x=1x3x8x8.");
    const inputs = [
      { name: "ids", dtype: "int64", shape: ["batch", null] },
      { name: "line", dtype: "float32", shape: ["p2o.DynamicDimension.0", 3, 48, "p2o.DynamicDimension.1"] },
      { name: "any", dtype: "float32", shape: null },
    ];
    const several = { type: "model", model: { ...model, inputs, open: ["ids", "line", "any"] } } as const;
    expect(obstacle(stateOf([several]))!.advice).toContain("ids=1x128; line=1x3x48x224; any=1x3x224x224.");
    // samples have a shape
    expect(obstacle(stateOf([open, sampled]))).toBeNull();
    expect(obstacle(stateOf([opened], "cost=time"))!.words).toMatch(/needs samples/);
    expect(obstacle(stateOf([opened], "shapes=7"))).toBeNull();
    expect(obstacle(stateOf([opened], "shapes=wide"))!.words).toContain('"wide" is no shape of x');
  });

  it("names a budget, and knows what was made", () => {
    expect(jobOf(stateOf([opened, sampled], "ratio=3&cost=weights"))).toMatchObject({
      target: { weights: 3 },
      title: "low rank, size ÷ 3",
      known: [],
    });
    const made = stateOf([opened, sampled, { type: "version", version: version("int8", {}) }]);
    expect(jobOf(made).known).toEqual(["int8"]);
    // other samples make other versions
    expect(update(made, { ...sampled, samples: null }).versions).toEqual([]);
  });

  it("comes to a verdict", () => {
    const int8 = version("int8", { bytes: 2.6e5, agreement: 0.995, time: { before: 2, after: 0.8 } });
    const low = version("low rank ÷ 2", {});
    expect(told(int8, low)).toBe(
      "Take int8: 3.8 times smaller, 2.5 times as fast here, 99.5 % same answer. Low rank has less to give here: it is larger, slower and no nearer.",
    );
    expect(told(int8, version("low rank ÷ 2", { time: { before: 2, after: 0.5 } }))).toMatch(/^Take int8: .*answer\.$/);
    const both = version("low rank ÷ 2 + int8", { bytes: 1.4e5, agreement: 0.985, time: { before: 2, after: 0.4 } });
    expect(told(int8, low, both)).toMatch(/^Take low rank ÷ 2 \+ int8: 7\.1 times smaller, 5\.0 times as fast here/);
    expect(told(version("low rank ÷ 8", { agreement: 0.5 }))).toBe(
      "None keeps 98 % of the answers; the nearest is low rank ÷ 8 (50 % same answer). Ask for less, or stay with the original.",
    );
    expect(told(version("low rank ÷ 8", { agreement: null, error: 0.2 }))).toMatch(/error of at most 10 %.*20 % error/);
    expect(told(version("low rank ÷ 2", { bytes: null, reason: "no choice of ranks" }))).toBe(
      "There is no low-rank version: no choice of ranks. There is nothing to be won for this model.",
    );
    expect(told(version("int8", { bytes: 1e6, time: { before: 1, after: 1 } }))).toMatch(/^Nothing to be won/);
    const random = stateOf([opened, { type: "version", version: { ...low, error: null, agreement: null } }]);
    expect(verdict(random)).toBe(
      "The fastest is low rank ÷ 2: 2.00 times as fast here. How near the outputs stay is not known without samples.",
    );
  });

  it("tells what is in the model", () => {
    const facts = Object.fromEntries(factsOf(stateOf([opened])));
    expect(facts).toMatchObject({
      file: "1 MB",
      input: "x batch×3×8×8",
      "can be factorised": "60 % of the multiplications",
      samples: "none: random inputs",
    });
    const inputs = [{ name: "x", dtype: "float32", shape: ["p2o.DynamicDimension.0", 3, 48, null] }];
    const exported: Event = { type: "model", model: { ...model, inputs } };
    expect(factsOf(stateOf([exported]))).toContainEqual(["input", "x ?×3×48×?"]);
    expect(factsOf(stateOf([exported], "shapes=1x3x48x160"))).toContainEqual(["input", "x 1×3×48×160"]);
    const bare = { ...model, layers: [], leftAlone: [{ reason: "depthwise", layers: 3, weights: 9 }] };
    expect(nothingWords(bare)).toBe("No layer of this model can be factorised: depthwise. int8 may still help.");
  });
});

describe("what is dropped", () => {
  type Entry = Pick<FileSystemEntry, "isDirectory" | "fullPath">;
  const file = (fullPath: string): Entry =>
    Object.assign(
      { isDirectory: false, fullPath },
      { file: (take: (one: File) => void) => take(new File([], fullPath)) },
    );
  /** gives its entries one at a time, as browsers give a hundred */
  const directory = (fullPath: string, entries: Entry[]): Entry =>
    Object.assign(
      { isDirectory: true, fullPath },
      {
        createReader: () => {
          const left = [...entries];
          return { readEntries: (take: (some: Entry[]) => void) => take(left.splice(0, 1)) };
        },
      },
    );
  const dropped = async (entries: (Entry | null)[], files: File[]) => {
    const items = entries.map((entry) => ({ webkitGetAsEntry: () => entry }));
    return (await filesOf({ items, files } as unknown as DataTransfer)).map(({ name }) => name);
  };

  it("is files, and those of folders in the order of their paths", async () => {
    const photos = directory("/photos", [
      file("/photos/b.jpg"),
      directory("/photos/a", [file("/photos/a/z.jpg"), file("/photos/a/.hidden.jpg")]),
      file("/photos/a.jpg"),
      directory("/photos/.cache", [file("/photos/.cache/c.jpg")]),
    ]);
    expect(await dropped([file("/net.onnx"), photos], [new File([], "net.onnx"), new File([], "photos")])).toEqual([
      ...["/net.onnx", "/photos/a.jpg", "/photos/a/z.jpg", "/photos/b.jpg"],
    ]);
    expect(await dropped([file("/b"), file("/a")], [new File([], "b"), new File([], "a")])).toEqual(["b", "a"]);
    expect(await dropped([null], [new File([], "b")])).toEqual(["b"]);
    const closed = Object.assign(file("/photos/a.jpg"), { file: (_: unknown, fail: () => void) => fail() });
    expect(await dropped([directory("/photos", [closed])], [new File([], "photos")])).toEqual(["photos"]);
  });
});
