import { describe, expect, it } from "vitest";
import { HISTOGRAM_BINS, histogramBins } from "../../src/ops/index.js";
import { convergenceFigure, figuresOf } from "../../src/report/decomposition.js";
import { decompositionPage, factsOfDecomposition } from "../../src/report/decompositionPage.js";
import { csvFile, svgFile } from "../../src/report/figure.js";
import { type DecompositionData, type KruskalModel, toggled, unturned, type Values } from "../../src/report/model.js";
import { normalShare } from "../../src/report/residualFigures.js";
import { axes, csv, heatMap, linear, logarithmic, PAPER, tick } from "../../src/report/svg.js";
import { randomArray } from "../reference.js";

const wave = (rows: number, columns: number): Values => ({
  shape: [rows, columns],
  data: Float32Array.from({ length: rows * columns }, (_, at) =>
    Math.sin(0.3 * Math.floor(at / columns) * (1 + (at % columns))),
  ),
});
const squares = (length: number) => ({
  residual: new Float32Array(length).fill(0.01),
  data: Float32Array.from({ length }, (_, at) => at),
});
const data: DecompositionData = {
  data: 'a <b> & "c".npy',
  shape: [30, 24, 500],
  modes: ["mode 0", "mode 1", "time"],
  method: "CP",
  options: "rank 3, seed 1",
  model: { kind: "kruskal", weights: Float32Array.of(9, 4, 2), factors: [wave(30, 3), wave(24, 3), wave(500, 3)] },
  errors: [0.9, 0.5, 0.01],
  relativeError: 0.01,
  ending: "converged after 3 sweeps",
  seconds: 1.5,
  adapter: "a GPU",
  date: "2026-11-29T00:00:00Z",
  parameters: 1665,
  starts: { errors: [0.01, 0.01, 0.2], agreeing: 2 },
  squaredNorm: 100,
  slices: [squares(30), squares(24), squares(500)],
  residuals: [
    { from: -0.5, to: -0.25, count: 40 },
    { from: 0, to: 0, count: 3 },
    { from: 0.25, to: 0.5, count: 41 },
    { from: 8, to: 16, count: 1 },
  ],
  products: { withX: [80, 16, 4], between: [81, 1, 0, 1, 16, 2, 0, 2, 4] },
  match: null,
};

const tucker: DecompositionData = {
  ...data,
  products: null,
  starts: null,
  model: {
    kind: "tucker",
    core: { shape: [2, 3, 24], data: Float32Array.from({ length: 144 }, (_, at) => at - 70) },
    factors: [wave(30, 2), wave(24, 3), null],
  },
};
const train: DecompositionData = {
  ...data,
  products: null,
  errors: [],
  model: {
    kind: "train",
    cores: [
      { shape: [1, 30, 4], data: wave(30, 4).data },
      { shape: [4, 24, 1], data: wave(24, 4).data },
    ],
  },
};

/** Every element of the text is closed, in order: what an XML reader needs. */
function assertNested(text: string): void {
  const open: string[] = [];
  for (const [, close, name, self] of text.matchAll(/<(\/?)([a-z]+)(?:\s+[a-zA-Z0-9:-]+="[^"<]*")*(\/?)>/g)) {
    if (close) expect(open.pop()).toBe(name);
    else if (!self) open.push(name!);
  }
  expect(open).toEqual([]);
  expect(text.replace(/<\/?[a-z]+(?:\s+[a-zA-Z0-9:-]+="[^"<]*")*\/?>/g, "")).not.toMatch(/[<>]/);
}

describe("figures", () => {
  it.each([
    [
      "Kruskal",
      data,
      [
        "error-by-sweep",
        "starts",
        "weights",
        "factor-0",
        "factor-1",
        "factor-2",
        "images",
        "pairs",
        "residual-by-mode",
        "residual-histogram",
        "residual-quantiles",
        "outliers",
        "congruence",
      ],
    ],
    [
      "Tucker",
      tucker,
      [
        ...["error-by-sweep", "core", "factor-0", "factor-1", "images", "pairs", "residual-by-mode"],
        ...["residual-histogram", "residual-quantiles", "outliers"],
      ],
    ],
    ["train", { ...train, residuals: null }, ["starts", "core-0", "core-1", "residual-by-mode"]],
  ] as const)(
    "of a %s model are those that it has, at any width, as nested elements with finite numbers",
    (_, of, ids) => {
      const figures = figuresOf(of, { image: { kind: "pair", modes: [0, 1] }, selected: { axis: 0, component: 1 } });
      expect(figures.map(({ id }) => id)).toEqual(ids);
      for (const figure of figures)
        for (const width of [300, 940]) {
          const text = svgFile(figure, width);
          assertNested(text);
          expect(`${figure.id} ${text.match(/NaN|Infinity|undefined|var\(/)?.[0]}`).toBe(`${figure.id} undefined`);
          expect(text).toMatch(new RegExp(`^<svg xmlns="http://www.w3.org/2000/svg" width="${width}"`));
          // small enough to be drawn at once
          expect(text.length).toBeLessThan(400_000);
        }
    },
  );

  it("have all of their numbers as CSV", () => {
    const [factor] = figuresOf(data).filter(({ id }) => id === "factor-2");
    const lines = csvFile(factor!)!.trim().split("\n");
    expect(lines[0]).toBe("index,component 1,component 2,component 3");
    expect(lines.length).toBe(501);
    expect(Number(lines[500]!.split(",")[2])).toBe((data.model as KruskalModel).factors[2]!.data[499 * 3 + 1]);
    const [core] = figuresOf(tucker).filter(({ id }) => id === "core");
    expect(csvFile(core!)!.split("\n")[1]).toBe("1,1,1,-70");
    const [residual] = figuresOf(data).filter(({ id }) => id === "residual-by-mode");
    // the slice of zeros has no relative error
    expect(csvFile(residual!)!.split("\n").slice(1, 3)).toEqual([
      "mode 0,0,NaN,0.009999999776482582,0",
      expect.stringMatching(/^mode 0,1,0\.0?9999/),
    ]);
  });

  it("tell how residuals are distributed, as finely as their bins", () => {
    const [angles, radii] = [randomArray(20_000, 1), randomArray(20_000, 2)];
    const normal = Float32Array.from(
      angles,
      (angle, at) => 1e-3 * Math.sqrt(-2 * Math.log(0.5 + 0.4999 * radii[at]!)) * Math.sin(Math.PI * angle),
    );
    const counts = new Uint32Array(HISTOGRAM_BINS);
    for (const word of new Uint32Array(normal.buffer)) counts[word >>> 18]!++;
    const figures = figuresOf({ ...data, residuals: histogramBins(counts) });
    const rowsOf = (id: string): number[][] => {
      const [, ...lines] = csvFile(figures.find((figure) => figure.id === id)!)!
        .trim()
        .split("\n");
      return lines.map((line) => line.split(",").map(Number));
    };
    expect(rowsOf("residual-histogram").reduce((sum, row) => sum + row[4]!, 0)).toBe(20_000);
    const size = Math.sqrt(normal.reduce((sum, value) => sum + value ** 2, 0) / 20_000);
    const sorted = normal.sort();
    const quantiles = rowsOf("residual-quantiles");
    expect(quantiles.length).toBe(160);
    for (const [share, z, residual] of quantiles as [number, number, number][]) {
      const exact = sorted[Math.max(0, Math.ceil(share * 20_000) - 1)]! / size;
      expect(Math.abs(residual - exact)).toBeLessThan(Math.abs(exact) / 31 + 1e-3);
      if (Math.abs(z) < 2) expect(Math.abs(residual - z)).toBeLessThan(0.1);
    }
    const bars = figures.find(({ id }) => id === "residual-histogram")!.draw(900, PAPER);
    const entries = [...bars.matchAll(/: ([\d,]+)<\/title>/g)].map(([, number]) => Number(number!.replaceAll(",", "")));
    expect(Math.abs(entries.reduce((sum, number) => sum + number, 0) - 20_000)).toBeLessThan(entries.length);
    expect(entries.length).toBeGreaterThan(20);
    // nothing to draw of residuals that are all 0
    const none = figuresOf({ ...data, residuals: [{ from: 0, to: 0, count: 8 }] }).map(({ id }) => id);
    expect(none).not.toContain("residual-histogram");
  });

  it("know the normal distribution", () => {
    // of Abramowitz & Stegun 1972, table 26.1
    for (const [z, share] of [
      [0, 0.5],
      [1, 0.841344746],
      [-2, 0.022750132],
      [-3, 1.349898e-3],
      [-5, 2.866516e-7],
    ] as const)
      expect(Math.abs(normalShare(z) / share - 1)).toBeLessThan(3e-7);
  });

  it("show two components against each other, the selected one across", () => {
    const pairs = figuresOf(data, { selected: { axis: 0, component: 2 } }).find(({ id }) => id === "pairs")!;
    const lines = csvFile(pairs)!.trim().split("\n");
    expect(lines.length).toBe(1 + 30 + 24 + 500);
    const { factors } = data.model as KruskalModel;
    expect(lines[2]).toBe(`mode 0,1,3,${factors[0]!.data[5]},1,${factors[0]!.data[3]}`);
    assertNested(svgFile(pairs));
  });

  it("show what is hidden and what is selected", () => {
    const turn = toggled(unturned(data.model), 0, 2);
    const [weights] = figuresOf(data, { turn, selected: { axis: 0, component: 0 } }).filter(
      ({ id }) => id === "weights",
    );
    expect(svgFile(weights!)).toContain(`stroke="${PAPER.mark}"`);
    expect(csvFile(weights!)!.trim().split("\n").at(-1)).toBe("3,2,1");
    const [factor] = figuresOf(data, { turn }).filter(({ id }) => id === "factor-0");
    expect(svgFile(factor!)).toContain("3 (hidden)");
  });

  it("of no sweeps, one sweep and zero errors are drawn", () => {
    for (const curves of [[], [[]], [[0.5]], [[0, 0]], [[1, 1e-6, 0]]]) {
      const text = svgFile(convergenceFigure(curves));
      assertNested(text);
      expect(text).not.toMatch(/NaN|Infinity/);
    }
    expect(svgFile(convergenceFigure([[1, 0.01]]))).toContain("(logarithmic)");
    expect(svgFile(convergenceFigure([[1, 0.4]]))).not.toContain("(logarithmic)");
  });
});

describe("the page of a decomposition", () => {
  it("is one file with every figure, and asks for nothing", () => {
    const page = decompositionPage(data);
    expect(page.match(/<svg /g)?.length).toBe(figuresOf(data).length);
    expect(page).toContain("a &lt;b&gt; &amp; &quot;c&quot;.npy");
    expect(page).not.toMatch(/<script|src=|href="(?!data:)/);
  });

  it("tells the error of what is on show", () => {
    const facts = Object.fromEntries(factsOfDecomposition(data, 0.25));
    expect(facts["relative error of the components on show"]).toBe("0.25");
    expect(facts["numbers stored"]).toBe("1,665 (0.5 % of the entries)");
    expect(facts["starts that agree"]).toBe("2 of 3");
    const turn = toggled(unturned(data.model), 0, 0);
    expect(decompositionPage(data, { turn })).toContain("relative error of the components on show");
  });
});

describe("parts of figures", () => {
  it("ticks lie within the domain, on round numbers", () => {
    for (const [low, high] of [
      [0, 1],
      [-3, 7],
      [1e-9, 2e-9],
      [1, 1],
      [-1e6, 5e5],
    ] as const) {
      const { ticks } = linear(low, high, [0, 1]);
      expect(ticks.length).toBeLessThanOrEqual(6);
      for (const value of ticks) expect(value >= low - 1e-9 && value <= high + 1 + 1e-9).toBe(true);
    }
    expect(linear(0, 100, [0, 1]).ticks).toEqual([0, 50, 100]);
    expect(linear(1, 4, [0, 1], { ticks: 8, integers: true }).ticks).toEqual([1, 2, 3, 4]);
    expect(logarithmic(0.01, 10, [0, 1]).ticks.map((value) => Number(value.toPrecision(3)))).toEqual([
      0.01, 0.1, 1, 10,
    ]);
    const close = axes(PAPER, { x: linear(0.1391, 0.1394, [0, 90]), y: linear(0, 4, [90, 0]) });
    for (const text of ["0.1391", "0.1392", "0.1394"]) expect(close).toContain(`>${text}<`);
    expect([0, 0.5, 1234, 1e-7, 2.5e6].map(tick)).toEqual(["0", "0.5", "1230", "1e-7", "2.5e6"]);
  });

  it("a heat map joins neighbours of one colour, and leaves zeros out", () => {
    const text = heatMap(
      PAPER,
      { values: [1, 1, -1, 0, 0, 0], rows: 2, columns: 3, most: 1 },
      { x: 0, y: 0, width: 30, height: 20 },
    );
    expect(text.match(/d="[^"]+"/g)).toEqual(['d="M0 0h2v1h-2z"', 'd="M2 0h1v1h-1z"']);
  });

  it("CSV quotes what needs it", () => {
    expect(
      csv([
        ["a,b", 'say "x"'],
        [1, "2\n3"],
      ]),
    ).toBe('"a,b","say ""x"""\n1,"2\n3"\n');
  });
});
