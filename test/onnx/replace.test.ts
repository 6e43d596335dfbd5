/** Layers replaced by factors of full rank give the same outputs, and the files say what was done. */
import { describe, expect, it } from "vitest";
import { halfToNumber } from "../../src/io/array.js";
import { type OnnxReplacement, onnxSites, readOnnx, replaceSites, writeOnnx } from "../../src/onnx/index.js";
import { OnnxModel } from "../../src/onnx/model.js";
import { copyOf } from "../../src/onnx/proto.js";
import { exactReplacement, schemesOf } from "./exact.js";
import { difference, feedsOf, fixture, ort, runModel } from "./runtime.js";

const INPUTS: Record<string, Record<string, number[]>> = {
  "convolutions.onnx": { x1: [2, 6, 13], x2: [2, 6, 11, 9], x3: [1, 4, 5, 6, 7] },
  "transposed.onnx": { x1: [2, 6, 7], x2: [2, 6, 5, 4], x3: [1, 4, 3, 4, 3] },
  "products.onnx": { rows: [5, 6], turned: [6, 5], stack: [2, 3, 4, 6], wide: [2, 6, 5], vector: [6] },
};
const all = { smallest: 0, join: false } as const;
const read = (file: string) => readOnnx(fixture(file), { file });

/** Names of outputs that differ by more than 1e-5 of the largest entry. */
const differing = (before: Awaited<ReturnType<typeof runModel>>, after: typeof before): string[] =>
  [...before].filter(([name, value]) => !(difference(value, after.get(name)) < 1e-5)).map(([name]) => name);

describe.each(Object.keys(INPUTS))("%s at full rank", (file) => {
  const model = read(file);
  const { sites } = onnxSites(model, all);
  const feeds = feedsOf(INPUTS[file]!);
  it.each([...new Set(sites.flatMap(schemesOf))])("%s gives the same outputs", async (scheme) => {
    const before = await runModel(fixture(file), feeds);
    const taken = sites.filter((site) => schemesOf(site).includes(scheme));
    const replacements = await Promise.all(taken.map((site) => exactReplacement(site, scheme)));
    const changed = replaceSites(model, replacements, { join: false });
    const after = await runModel(writeOnnx(changed), feeds);
    expect([...after.keys()]).toEqual([...before.keys()]);
    expect(differing(before, after)).toEqual([]);
    expect(taken.length).toBeGreaterThan(0);
    // only these operators are written, and no layer stays
    const operators = new Set(changed.graph.node.map(({ opType }) => opType));
    expect([...operators].filter((op) => !["Conv", "ConvTranspose", "MatMul", "Gemm", "Add"].includes(op))).toEqual([]);
    for (const site of taken) {
      const weights = model.graph.node.find(({ output }) => output[0] === site.id)!.input[1]!;
      expect(changed.graph.initializer.map(({ name }) => name)).not.toContain(weights);
    }
  });

  it("takes a bias in the place of the layer's", async () => {
    const replacements = await Promise.all(
      sites.map(async (site): Promise<OnnxReplacement> => {
        const exact = await exactReplacement(site, schemesOf(site)[0]!);
        const bias = await site.bias();
        const shifted = Float64Array.from({ length: site.shape[0]! }, (_, o) => (bias?.[o] ?? 0) + 0.25);
        return { ...exact, bias: shifted };
      }),
    );
    const before = await runModel(fixture(file), feeds);
    const after = await runModel(writeOnnx(replaceSites(model, replacements, { join: false })), feeds);
    for (const { id, bias: _, ...site } of sites) {
      // the value that the bias is added to, by its Add where it has one
      const name = before.has(id) ? id : { matmul_product: "matmul_bias", left_product: "left_bias" }[id]!;
      const { data, shape } = before.get(name)!;
      const shifted = { shape, data: Float64Array.from(data, (value) => value + 0.25) };
      expect([name, difference(shifted, after.get(name)) < 1e-5, site.op]).toEqual([name, true, site.op]);
    }
  });
});

describe("a transformer's block", () => {
  const model = read("transformer.onnx");
  const feeds = {
    tokens: new ort.Tensor(
      "int64",
      BigInt64Array.from({ length: 14 }, (_, i) => BigInt((i * 7) % 20)),
      [2, 7],
    ),
  };

  it("has the projections to queries, keys and values as one site with one first factor", async () => {
    const { sites } = onnxSites(model, { smallest: 0 });
    expect(sites.map(({ name, shape, parts }) => [name, shape, parts])).toEqual([
      ["q_product_node+k_product_node+v_product_node", [48, 16], [16, 16, 16]],
      ["o_product_node", [16, 16], [16]],
      ["up_product_node", [64, 16], [64]],
      ["down_node", [16, 64], [16]],
    ]);
    const replacements = await Promise.all(sites.map((site) => exactReplacement(site, "lowRank")));
    const changed = replaceSites(model, replacements);
    const names = changed.graph.node.map(({ name }) => name);
    expect(names.filter((name) => name.includes("low_rank"))).toEqual([
      "q_product_node+k_product_node+v_product_node/low_rank_first",
      ...["q", "k", "v"].map((part) => `${part}_product_node/low_rank_last`),
      ...["o_product", "up_product", "down"].flatMap((part) =>
        ["first", "last"].map((which) => `${part}_node/low_rank_${which}`),
      ),
    ]);
    const [before, after] = [
      await runModel(fixture("transformer.onnx"), feeds),
      await runModel(writeOnnx(changed), feeds),
    ];
    expect(differing(before, after)).toEqual([]);
  });

  it("takes one bias for all three", async () => {
    const [site] = onnxSites(model, { smallest: 0 }).sites;
    const exact = await exactReplacement(site!, "lowRank");
    const bias = (await site!.bias())!;
    expect(bias.length).toBe(48);
    const before = await runModel(fixture("transformer.onnx"), feeds);
    const same = await runModel(writeOnnx(replaceSites(model, [{ ...exact, bias }])), feeds);
    expect(differing(before, same)).toEqual([]);
    // the values' part alone changes the outputs
    const other = bias.map((value, o) => (o >= 32 ? value + 1 : value));
    const after = await runModel(writeOnnx(replaceSites(model, [{ ...exact, bias: other }])), feeds);
    expect(differing(before, after)).toEqual(["logits"]);
  });
});

describe("the changed file", () => {
  const model = read("convolutions.onnx");
  const site = onnxSites(model, all).sites.find(({ id }) => id === "strided")!;

  it("keeps what was there, and declares what is new", async () => {
    const changed = readOnnx(writeOnnx(replaceSites(model, [await exactReplacement(site, "vertical")])));
    expect([...changed.metadata]).toEqual([
      ["author", "tenfold"],
      ["note", "made by fixtures.py"],
      ["tenfold.factorised", "strided_node: vertical, ranks 18"],
    ]);
    expect([...changed.opsets]).toEqual([...model.opsets]);
    expect([changed.producer, changed.irVersion]).toEqual([model.producer, model.irVersion]);
    const nodes = changed.graph.node.filter(({ name }) => name.startsWith("strided"));
    expect(nodes.map(({ name, output }) => [name, output])).toEqual([
      ["strided_node/spatial_vertical", ["strided_node/spatial_vertical/output"]],
      ["strided_node/spatial_horizontal", ["strided"]],
    ]);
    const attributes = nodes.map(({ attribute }) =>
      Object.fromEntries(attribute.map(({ name, ints }) => [name, ints.join()])),
    );
    expect(attributes).toMatchObject([
      { strides: "2,1", pads: "1,0,1,0", kernel_shape: "3,1" },
      { strides: "1,3", pads: "0,1,0,1", kernel_shape: "1,3" },
    ]);
    const dims = changed.graph.valueInfo.find(({ name }) => name === "strided_node/spatial_vertical/output")!.type!
      .value;
    expect(dims.case === "tensorType" && dims.value.shape!.dim.map(({ value }) => Number(value.value))).toEqual([
      2, 18, 6, 9,
    ]);
    // everything else is the same message
    const others = (graph: typeof model.graph) => graph.node.filter(({ name }) => !name.startsWith("strided")).length;
    expect(others(changed.graph)).toBe(others(model.graph));
    // and a second replacement adds a line
    const again = onnxSites(changed, all).sites.find(({ id }) => id === "plain")!;
    const twice = replaceSites(changed, [await exactReplacement(again, "tucker2")]);
    expect(twice.metadata.get("tenfold.factorised")).toBe(
      "strided_node: vertical, ranks 18\nplain_node: tucker2, ranks 6, 8",
    );
  });

  it("names new things so that nothing is called alike", async () => {
    const replacement = await exactReplacement(site, "kernelFirst");
    const first = replaceSites(model, [replacement]);
    const second = onnxSites(first, all).sites.find(({ name }) => name === "strided_node/kernel")!;
    const { graph } = replaceSites(first, [await exactReplacement(second, "kernelFirst")]);
    const names = [...graph.node.map(({ name }) => name), ...graph.initializer.map(({ name }) => name)];
    expect(new Set(names).size).toBe(names.length);
  });

  it("keeps shared weights, and those that a subgraph uses", async () => {
    const torture = read("torture.onnx");
    const sites = onnxSites(torture, all).sites;
    const exact = await Promise.all(sites.map((one) => exactReplacement(one, schemesOf(one)[0]!)));
    const changed = replaceSites(torture, exact);
    const left = changed.graph.initializer.map(({ name }) => name);
    expect(left).toEqual(expect.arrayContaining(["shared_w", "inner_w", "q_w"]));
    expect(left).not.toContain("typed_w");
    // the constant, and both nodes that passed it on
    expect(changed.graph.node.map(({ opType }) => opType)).not.toContain("Constant");
    expect(changed.graph.node.map(({ opType }) => opType)).not.toContain("Identity");
    const feeds = {
      ...feedsOf({ x: [1, 4, 6, 6] }),
      flag: new ort.Tensor("bool", [true], []),
      d: new ort.Tensor(
        "float64",
        Float64Array.from({ length: 10 }, (_, k) => Math.sin(0.37 * k)),
        [2, 5],
      ),
    };
    const [before, after] = [await runModel(fixture("torture.onnx"), feeds), await runModel(writeOnnx(changed), feeds)];
    expect(differing(before, after)).toEqual([]);
  });

  it("writes MatMul for a Gemm without a bias before operator set 11", async () => {
    const { proto, file, external } = read("products.onnx");
    const opsetImport = proto.opsetImport.map((entry) => copyOf(entry, { version: 9n }));
    const old = new OnnxModel(file, copyOf(proto, { opsetImport }), external, null);
    const { sites, leftAlone } = onnxSites(old, all);
    expect(leftAlone.filter(({ reason }) => reason.includes("before operator set 11")).map(({ name }) => name)).toEqual(
      ["gemm_a_node", "gemm_ab_node", "gemm_left_ab_node"],
    );
    const gemms = sites.filter(({ op }) => op === "Gemm");
    expect(gemms.map(({ id }) => id)).toEqual(["gemm", "gemm_nobias", "gemm_b", "gemm_left"]);
    const replacements = await Promise.all(gemms.map((site) => exactReplacement(site, "lowRank")));
    const { graph } = replaceSites(old, replacements, { join: false });
    const firsts = graph.node.filter(({ name }) => name.endsWith("low_rank_first"));
    expect(firsts.map(({ opType, attribute }) => [opType, attribute.length])).toEqual(gemms.map(() => ["MatMul", 0]));
  });

  it("writes the type of the weights", async () => {
    for (const [file, type] of [
      ["half.onnx", 10],
      ["bfloat16.onnx", 16],
    ] as const) {
      const small = read(file);
      const sites = onnxSites(small, all).sites;
      const replacements = await Promise.all(sites.map((one) => exactReplacement(one, schemesOf(one)[0]!)));
      const changed = replaceSites(small, replacements);
      expect(changed.graph.initializer.map(({ dataType }) => dataType)).toEqual([type, type, type, type]);
      if (type !== 10) continue;
      const feeds = { x: new ort.Tensor("float16", new Uint16Array(144).fill(0x3c00), [1, 4, 6, 6]) };
      const [before, after] = [await runModel(fixture(file), feeds), await runModel(writeOnnx(changed), feeds)];
      // the runtime gives bits; four numbers of half precision are multiplied, each rounded to 2⁻¹¹
      const decoded = (results: typeof before) => {
        const { shape, data } = results.get("z")!;
        return { shape, data: Array.from(data, halfToNumber) };
      };
      expect(difference(decoded(before), decoded(after))).toBeLessThan(4e-3);
    }
  });

  it("lists new weights as inputs before version 4 of the format", async () => {
    const old = read("old.onnx");
    expect(onnxSites(old, all).sites).toEqual([]);
    expect(onnxSites(old, all).leftAlone[0]!.reason).toContain("input of the graph too");
    const options = { fixedInputs: true, join: false };
    const { sites } = onnxSites(old, { ...options, smallest: 0 });
    const changed = replaceSites(
      old,
      await Promise.all(sites.map((one) => exactReplacement(one, schemesOf(one)[0]!))),
      options,
    );
    const inputs = changed.graph.input.map(({ name }) => name);
    expect(changed.graph.initializer.map(({ name }) => name).filter((name) => !inputs.includes(name))).toEqual([]);
    expect(inputs).not.toContain("gw");
    const feeds = feedsOf({ x: [2, 3, 5, 5] });
    expect(differing(await runModel(fixture("old.onnx"), feeds), await runModel(writeOnnx(changed), feeds))).toEqual(
      [],
    );
  });
});

describe("replaceSites refuses", () => {
  const model = read("convolutions.onnx");
  const byId = (id: string) => onnxSites(model, all).sites.find((site) => site.id === id)!;
  const attempt = async (id: string, change: Partial<OnnxReplacement>, scheme = schemesOf(byId(id))[0]!) => {
    const exact = await exactReplacement(byId(id), scheme);
    return () => replaceSites(model, [{ ...exact, ...change }]);
  };

  it("factors that do not fit, by what is expected", async () => {
    const { factors } = await exactReplacement(byId("plain"), "tucker2");
    expect(await attempt("plain", { factors: factors.slice(1) }, "tucker2")).toThrow(
      "replaceSites (plain_node): tucker2 has 3 factors, given 2",
    );
    const wrong = [factors[0]!, { shape: [8, 5, 3, 3], data: new Float32Array(360) }, factors[2]!];
    expect(await attempt("plain", { factors: wrong }, "tucker2")).toThrow(
      "replaceSites (plain_node): factor 1 of tucker2 is 8×5×3×3, expected R×6×3×3",
    );
    const short = [factors[0]!, { ...factors[1]!, data: new Float32Array(3) }, factors[2]!];
    expect(await attempt("plain", { factors: short }, "tucker2")).toThrow("factor 1 is 8×6×3×3, but has 3 entries");
    const nan = [{ ...factors[0]!, data: Float32Array.from(factors[0]!.data, () => Number.NaN) }, ...factors.slice(1)];
    expect(await attempt("plain", { factors: nan }, "tucker2")).toThrow("factor 0: entry 0 is NaN");
    expect(await attempt("plain", { bias: [1, 2] })).toThrow("the bias has 2 entries, expected 8");
  });

  it("schemes and sites that do not exist", async () => {
    expect(await attempt("plain", { scheme: "lowRank" })).toThrow(
      "lowRank is for dense layers, and the layer has the kernel 3×3",
    );
    expect(await attempt("pointwise", { scheme: "cp" })).toThrow(
      "cp is for kernels, and the layer is dense, 10×6: take lowRank",
    );
    expect(await attempt("one_dimension", { scheme: "vertical" })).toThrow(
      "vertical is for two dimensions, and the kernel is 4",
    );
    expect(await attempt("grouped", { scheme: "blockTerm" })).toThrow("blockTerm is for convolutions without groups");
    expect(await attempt("plain", { scheme: "svd" as "cp" })).toThrow('scheme is "svd", needs one of');
    expect(await attempt("plain", { site: "depthwise_node" })).toThrow("is no site of convolutions.onnx: depthwise");
    const exact = await exactReplacement(byId("plain"), "cp");
    expect(() => replaceSites(model, [exact, exact])).toThrow('"plain" is replaced twice');
  });

  it("numbers that half precision does not hold", async () => {
    const half = read("half.onnx");
    const [site] = onnxSites(half, all).sites;
    const { factors, ...rest } = await exactReplacement(site!, "pointwiseFirst");
    const large = [{ ...factors[0]!, data: Float32Array.from(factors[0]!.data, () => 1e6) }, factors[1]!];
    expect(() => replaceSites(half, [{ ...rest, factors: large }])).toThrow("1000000 does not fit into float16");
  });
});
