import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  loadTensor,
  readNpy,
  readNpz,
  readSafetensors,
  saveTensor,
  writeNpz,
  writeSafetensors,
} from "../../src/index.js";
import type { NumericArray } from "../../src/io/index.js";
import { CoupledTensor } from "../../src/tensors/coupled.js";
import {
  BlockTermTensor,
  type DecomposedTensor,
  KruskalTensor,
  NonnegativeFactors,
  Parafac2Tensor,
  TensorRing,
  TensorTrain,
  TuckerTensor,
} from "../../src/tensors/index.js";
import { distance } from "../decompositions/planted.js";
import { evaluate, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { randomBlocks, randomKruskal, randomRing, randomTrain, randomTucker } from "./models.js";

const engine = await testEngine();
const shape = [4, 3, 5];
const models = () => ({
  cp: randomKruskal(engine, shape, 2, 1),
  tucker: randomTucker(engine, shape, [2, 3, 2], 2),
  train: randomTrain(engine, shape, [1, 2, 3, 1], 3),
  ring: randomRing(engine, shape, [2, 3, 2], 4),
  blocks: randomBlocks(engine, shape, [2, 2, 1], 2, 5),
});
const KIND = {
  cp: KruskalTensor,
  tucker: TuckerTensor,
  train: TensorTrain,
  ring: TensorRing,
  blocks: BlockTermTensor,
} as const;
const arraysOf = (bytes: Uint8Array) => [...readNpz(bytes)].map(([name, { shape, data }]) => [name, shape, [...data]]);

const load = async (bytes: Uint8Array) => (await loadTensor(engine, bytes)) as DecomposedTensor;

/** Results that are no single tensor. */
const others = () => {
  const matrix = (rows: number, columns: number, seed: number) =>
    engine.tensor([rows, columns], randomArray(rows * columns, seed));
  /** two orthonormal columns */
  const rotation = (rows: number, k: number) => {
    const [sine, cosine] = [Math.sin(k + 1), Math.cos(k + 1)];
    const data = new Float32Array(2 * rows);
    data.set([cosine, -sine, sine, cosine]);
    return engine.tensor([rows, 2], data);
  };
  const vector = (seed: number) => engine.tensor([2], randomArray(2, seed));
  return {
    parafac2: new Parafac2Tensor(
      vector(1),
      [matrix(3, 2, 2), matrix(2, 2, 3), matrix(4, 2, 4)],
      [5, 2, 3].map((rows, k) => rotation(rows, k)),
    ),
    nmf: new NonnegativeFactors(matrix(5, 2, 5), matrix(2, 3, 6)),
    coupled: new CoupledTensor(
      new Map([
        ["user", matrix(4, 2, 7)],
        ["movie/year", matrix(3, 2, 8)],
        ["größe_0", matrix(5, 2, 9)],
      ]),
      [
        { modes: ["user", "movie/year", "größe_0"], weights: vector(20) },
        { modes: ["movie/year", "user"], weights: vector(21) },
      ],
    ),
  };
};

describe("saveTensor and loadTensor", () => {
  it.each(["npz", "safetensors"] as const)("keep results that are no single tensor in .%s", async (format) => {
    const live = engine.memory().live;
    for (const [name, result] of Object.entries(others())) {
      using tensor = result;
      using loaded = await loadTensor(engine, await saveTensor(tensor, { format }));
      expect(loaded.constructor, name).toBe(tensor.constructor);
      expect(arraysOf(await saveTensor(loaded)), name).toEqual(arraysOf(await saveTensor(tensor)));
      if (!(loaded instanceof CoupledTensor && tensor instanceof CoupledTensor)) continue;
      expect([...loaded.factors.keys()]).toEqual(["user", "movie/year", "größe_0"]);
      expect(loaded.models.map(({ shape }) => shape)).toEqual([
        [4, 3, 5],
        [3, 4],
      ]);
      expect(loaded.models[1]!.factors[1]).toBe(loaded.models[0]!.factors[0]);
    }
    expect(engine.memory().live).toBe(live);
  });

  it.each(["npz", "safetensors"] as const)("keep every kind, number by number, in .%s", async (format) => {
    for (const [name, { tensor, full }] of Object.entries(models())) {
      const bytes = await saveTensor(tensor, { format });
      const loaded = await load(bytes);
      expect(loaded).toBeInstanceOf(KIND[name as keyof typeof KIND]);
      expect(loaded.shape).toEqual(shape);
      expect(arraysOf(await saveTensor(loaded))).toEqual(arraysOf(await saveTensor(tensor)));
      expect(distance(full, await evaluate(engine, (s) => loaded.full(s)))).toBeLessThan(1e-6);
      tensor.destroy();
      loaded.destroy();
    }
  });

  it("names arrays as the page says, and writes the kind into safetensors", async () => {
    const names: Record<string, string[]> = {};
    for (const [name, { tensor }] of Object.entries(models())) {
      names[name] = [...readNpz(await saveTensor(tensor)).keys()];
      const { metadata, tensors } = readSafetensors(await saveTensor(tensor, { format: "safetensors" }));
      expect([...tensors.keys()].sort()).toEqual([...names[name]!].sort());
      expect(JSON.parse(metadata.tenfold!)).toHaveProperty("kind");
      tensor.destroy();
    }
    expect(names).toEqual({
      cp: ["weights", "factor_0", "factor_1", "factor_2"],
      tucker: ["core", "factor_0", "factor_2"],
      train: ["core_0", "core_1", "core_2"],
      ring: ["ring_core_0", "ring_core_1", "ring_core_2"],
      blocks: [0, 1].flatMap((g) => ["core", "factor_0", "factor_1", "factor_2"].map((n) => `block_${g}_${n}`)),
    });
  });

  it("takes numbers of other types, and factors without weights", async () => {
    const factors: [string, NumericArray][] = [
      ["factor_0", { shape: [2, 2], data: Float64Array.of(1, 2, 3, 4) }],
      ["factor_1", { shape: [3, 2], data: Int16Array.of(1, 0, 0, 1, 2, -1) }],
    ];
    const loaded = await load(writeNpz(factors));
    expect([...(await evaluate(engine, (s) => loaded.full(s)))]).toEqual([1, 2, 0, 3, 4, 2]);
    loaded.destroy();
  });

  it("says which array is wrong, and leaves no memory", async () => {
    const live = engine.memory().live;
    const array = (shape: number[], fill = 1): NumericArray => ({
      shape,
      data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(fill),
    });
    const failure = async (arrays: [string, NumericArray][]) => {
      await expect(loadTensor(engine, writeSafetensors(arrays), "cut.safetensors")).rejects.toThrow(/cut\.safetensors/);
      return await loadTensor(engine, writeNpz(arrays), "x.npz").catch((error: Error) => error.message);
    };
    expect(await failure([["a", array([2])]])).toMatch(/x\.npz: has the arrays a, needs weights and factor_0/);
    expect(
      await failure([
        ["weights", array([2])],
        ["factor_0", array([3, 3])],
      ]),
    ).toMatch(/factor 0 .* needs 2 columns/);
    expect(
      await failure([
        ["core", array([2, 2])],
        ["factor_1", array([3, 3])],
      ]),
    ).toMatch(/does not fit the core/);
    expect(
      await failure([
        ["core_0", array([1, 2, 2])],
        ["core_2", array([2, 2, 1])],
      ]),
    ).toMatch(/core 0/);
    expect(
      await failure([
        ["factor_0", array([2, 2])],
        ["other", array([1])],
      ]),
    ).toMatch(/"other" belongs to no/);
    expect(
      await failure([
        ["projection_0", array([3, 2])],
        ["a", array([1, 2])],
      ]),
    ).toMatch(/has no array "b", which its others need/);
    const coupled = (modes: number[], ...more: [string, NumericArray][]): [string, NumericArray][] => [
      ["mode_0_i", array([3, 2])],
      ["set_0_weights", array([2])],
      ["set_0_modes", { shape: [modes.length], data: Int32Array.from(modes) }],
      ...more,
    ];
    expect(await failure(coupled([0, 1]))).toMatch(/"set_0_modes" names mode 1, there are 1/);
    expect(await failure(coupled([0], ["mode_2_k", array([3, 2])]))).toMatch(/no factor of mode 1, and one of mode 2/);
    expect(await failure(coupled([0], ["mode_1_i", array([3, 2])]))).toMatch(/two modes with the name "i"/);
    expect(await failure(coupled([0], ["mode_1_j", array([3, 2])]))).toMatch(/mode "j" belongs to no data set/);
    expect(await failure(coupled([0, 1], ["mode_1_j", array([3, 3])]))).toMatch(/needs 2 columns/);
    expect(await failure([["factor_0", array([2, 2], Number.NaN)]])).toMatch(/"factor_0" holds NaN at 0/);
    const big: NumericArray = { shape: [1, 1], data: Float64Array.of(1e300) };
    expect(await failure([["factor_0", big]])).toMatch(/1e\+300 at 0, which is not finite in f32/);
    await expect(loadTensor(engine, new Uint8Array(3))).rejects.toThrow(/cut short/);
    await expect(loadTensor(engine, "cp.npz" as never)).rejects.toThrow(/needs the bytes of a file as a Uint8Array/);
    await expect(saveTensor([1] as never)).rejects.toThrow(/needs a decomposed tensor: .*NonnegativeFactors; writeNpy/);
    expect(engine.memory().live).toBe(live);
  });

  it("reads what TensorLy wrote", async () => {
    for (const kind of ["cp", "tucker", "train", "ring"] as const) {
      const loaded = await load(readFileSync(`test/fixtures/tensorly/${kind}.npz`));
      expect(loaded).toBeInstanceOf(KIND[kind]);
      const { data } = readNpy(readFileSync(`test/fixtures/tensorly/${kind}_full.npy`));
      expect(distance(data, await evaluate(engine, (s) => loaded.full(s)))).toBeLessThan(1e-6);
      loaded.destroy();
    }
  });
});

const python = ["python3", process.env.TENFOLD_TEST_PYTHON ?? ""].find(
  (command) => command && spawnSync(command, ["-c", "import numpy, tensorly"]).status === 0,
);

describe.skipIf(!python)("docs/files.md", () => {
  it("its Python reads what is written here, and writes what is read here", async () => {
    const page = readFileSync("docs/files.md", "utf8");
    const code = [...page.matchAll(/^```python\n(.*?)^```/gms)].map(([, lines]) => lines!);
    expect(code).toHaveLength(2);
    const folder = mkdtempSync(join(tmpdir(), "tenfold-"));
    try {
      const { blocks, ...single } = models();
      blocks.tensor.destroy();
      const parted = others();
      for (const [name, { tensor }] of Object.entries(single))
        writeFileSync(join(folder, `${name}.npz`), await saveTensor(tensor as DecomposedTensor));
      for (const [name, tensor] of Object.entries(parted))
        writeFileSync(join(folder, `${name}.npz`), await saveTensor(tensor));
      const check = [
        ...Object.keys(single).map((name) => `np.save("${name}_full.npy", ${name}.to_tensor())`),
        'np.savez("slices.npz", *slices, wh=w @ h, first=sets[0].to_tensor(), second=sets[1].to_tensor())',
      ];
      const program = [...code, ...check].join("\n");
      const { status, stderr } = spawnSync(python!, ["-c", program], { cwd: folder, encoding: "utf8" });
      expect(stderr).toBe("");
      expect(status).toBe(0);
      for (const [name, tensor] of Object.entries(parted)) {
        const back = await loadTensor(engine, readFileSync(join(folder, `${name}_back.npz`)));
        expect(arraysOf(await saveTensor(back)), name).toEqual(arraysOf(await saveTensor(tensor)));
        back.destroy();
      }
      const fulls = readNpz(readFileSync(join(folder, "slices.npz")));
      const { parafac2, nmf, coupled } = parted;
      const expected = (await evaluate(engine, (s) => [
        ...[0, 1, 2].map((k) => parafac2.full(s, k)),
        nmf.full(s),
        ...coupled.models.map((model) => model.full(s)),
      ])) as Float32Array[];
      for (const [at, key] of ["arr_0", "arr_1", "arr_2", "wh", "first", "second"].entries())
        expect(distance(expected[at]!, fulls.get(key)!.data as Float64Array), key).toBeLessThan(1e-6);
      for (const tensor of Object.values(parted)) tensor.destroy();
      for (const [name, { tensor, full }] of Object.entries(single)) {
        expect(distance(full, readNpy(readFileSync(join(folder, `${name}_full.npy`))).data), name).toBeLessThan(1e-6);
        const back = await load(readFileSync(join(folder, `${name}_back.npz`)));
        expect(back).toBeInstanceOf(KIND[name as keyof typeof KIND]);
        expect(distance(full, await evaluate(engine, (s) => back.full(s)))).toBeLessThan(1e-6);
        back.destroy();
        tensor.destroy();
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
