/** A tensor of one's own on the demo page: `vitest run --mode demo test/demo/tensor`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { cp, type KruskalTensor, type NumericArray, readNpz, writeNpy, writeNpz } from "../../src/index.js";
import { testEngine } from "../engine.js";
import {
  again,
  catchDownload,
  choose,
  ends,
  expectForEveryone,
  holdsNoLongTask,
  loaded,
  memory,
  page,
  press,
  RETRIED,
  says,
  set,
  settled,
  status,
  visit,
} from "./page.js";

const SHAPE = [12, 10, 8] as const;
/** Two terms and some noise: the best model of rank 2 is one, from any start. */
const planted = (): NumericArray => {
  const [n, m, k] = SHAPE;
  const data = new Float32Array(n * m * k);
  for (let at = 0; at < data.length; at++) {
    const [i, j, l] = [Math.floor(at / (m * k)), Math.floor(at / k) % m, at % k];
    data[at] =
      3 * Math.sin(0.4 * i + 1) * Math.cos(0.3 * j) * (1 + 0.2 * l) +
      2 * Math.cos(0.9 * i) * Math.sin(0.7 * j + 2) * Math.exp(-0.3 * l) +
      0.2 * Math.sin(12.9898 * i + 78.233 * j + 37.719 * l + 1.3 * i * j);
  }
  return { shape: SHAPE, data };
};

/** Drops a file on the page, as a user does. */
const drop = (name: string, bytes: Uint8Array | string): Promise<void> =>
  page.evaluate(
    (file, base64) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], file));
      for (const type of ["dragover", "drop"])
        document.body.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
    },
    name,
    Buffer.from(bytes).toString("base64"),
  );
/** Waits until the file was looked at. */
const isRead = (name: string) =>
  page.waitForFunction(
    (wanted) => {
      const file = document.querySelector<HTMLElement>("#file");
      return (
        file?.dataset.name === wanted && /missing/.test(file.textContent ?? "") && !document.querySelector(".reading")
      );
    },
    { timeout: 30_000 },
    name,
  );
const problem = (): Promise<string> => page.$eval(".problem", (box) => box.textContent ?? "");
const fact = (name: "error" | "all" | "match"): Promise<number> =>
  page.$eval("#facts", (facts, key) => Number((facts as HTMLElement).dataset[key]), name);
const figures = (): Promise<string[]> =>
  page.$$eval("[data-figure]", (all) => all.map((one) => (one as HTMLElement).dataset.figure!));

describe("a tensor of one's own", () => {
  it("the example runs by itself, and its components are found", async () => {
    await visit("tensor?starts=2");
    await ends();
    expect(await fact("match")).toBeGreaterThan(0.99);
    expect(await fact("error")).toBeCloseTo(0.0497, 3);
    expect([...loaded].filter((name) => /digits/.test(name))).toEqual([]);
    expect((await memory()).live).toBe(0);
    await page.waitForSelector("[data-figure=factor-2] svg path");
    expect(await figures()).toEqual([
      ...["error-by-sweep", "starts", "weights", "factor-0", "factor-1", "factor-2"],
      ...["pairs", "residual-by-mode", "residual-histogram", "residual-quantiles", "outliers", "congruence"],
    ]);
  });

  it("a dropped file is read and decomposed, as in Node; its factors come back from the download", async () => {
    await visit("decompose?images=400&rank=3");
    await ends();
    const x = planted();
    await drop("mine.npy", writeNpy(x));
    await page.waitForSelector("#part-tensor");
    await isRead("mine.npy");
    expect(await page.$eval("#file", (file) => file.textContent)).toMatch(
      /12 × 10 × 8[\s\S]*f32[\s\S]*missing0infinite0/,
    );
    await set("Rank", 2);
    await set("Starts", 2);
    await press("Decompose");
    await page.waitForSelector(".runner[data-state=running]");
    await ends();
    await page.waitForFunction(
      () => document.querySelector("[aria-label=Result] h2")?.textContent === "CP of mine.npy",
    );

    const engine = await testEngine();
    const tensor = engine.tensor([...x.shape], x.data as Float32Array<ArrayBuffer>);
    const { tensor: model, relativeError } = await cp(engine, tensor, { rank: 2, starts: 2, seed: 0 });
    const weights = await (model as KruskalTensor).weights.read();
    for (const owner of [tensor, model]) owner.destroy();
    expect(Math.abs((await fact("error")) / relativeError - 1)).toBeLessThan(1e-3);

    // the second term alone, turned in two modes, in another order
    await page.$eval("[aria-label='Show component 1']", (box) => (box as HTMLElement).click());
    await page.waitForFunction(
      (all) => Number(document.querySelector<HTMLElement>("#facts")!.dataset.error) > 2 * all,
      {},
      relativeError,
    );
    expect(await fact("all")).toBeCloseTo(relativeError, 4);
    await press("Show all");
    await page.waitForFunction(
      (all) => Math.abs(Number(document.querySelector<HTMLElement>("#facts")!.dataset.error) - all) < 1e-4,
      {},
      relativeError,
    );
    await page.$eval("[aria-label='Mark component 2']", (button) => (button as HTMLElement).click());
    await press("Turn 2 in mode 0 and mode 2");

    const saving = await catchDownload();
    await press("Download the factors (.npz)");
    const arrays = readNpz(await saving());
    expect([...arrays].map(([name, { shape }]) => [name, shape])).toEqual([
      ["weights", [2]],
      ...SHAPE.map((extent, mode) => [`factor_${mode}`, [extent, 2]]),
    ]);
    const [lambda, a, b, c] = [...arrays.values()].map(({ data }) => data) as [Float32Array, ...Float32Array[]];
    expect([...lambda].map((value, r) => value / weights[r]!)).toEqual([expect.closeTo(1, 2), expect.closeTo(1, 2)]);
    let [lost, all] = [0, 0];
    x.data.forEach((value, at) => {
      const [i, j, k] = [Math.floor(at / 80), Math.floor(at / 8) % 10, at % 8];
      const sum = [0, 1].reduce((of, r) => of + lambda[r]! * a![2 * i + r]! * b![2 * j + r]! * c![2 * k + r]!, 0);
      lost += (value - sum) ** 2;
      all += value ** 2;
    });
    expect(Math.sqrt(lost / all) / relativeError).toBeCloseTo(1, 3);
  });

  it("figures, their numbers and the report are saved", async () => {
    const text = async (button: string, isLabel = true): Promise<string> => {
      const saving = await catchDownload();
      if (isLabel) await page.$eval(`[aria-label="${button}"]`, (element) => (element as HTMLElement).click());
      else await press(button);
      return new TextDecoder().decode(await saving());
    };
    expect(await text("Weights as SVG")).toMatch(/^<svg xmlns[\s\S]*<\/svg>$/);
    expect((await text("Mode 1 as CSV")).split("\n").length).toBe(12);
    const report = await text("Download a report (.html)", false);
    expect(report).toContain("<h1>mine.npy: CP</h1>");
    expect(report.match(/<svg /g)!.length).toBe((await figures()).length);
  });

  it("wrong files say what to do, and leave the result", async () => {
    const before = await fact("all");
    await drop("photo.png", "\x89PNG not an array");
    await page.waitForFunction(() => /numpy\.stack/.test(document.querySelector(".problem")?.textContent ?? ""));
    expect([await fact("all"), await page.$eval("#file", (file) => (file as HTMLElement).dataset.name)]).toEqual([
      before,
      "mine.npy",
    ]);
    const x = planted();
    x.data[133] = Number.NaN;
    await drop(
      "gap.npz",
      writeNpz([
        ["labels", { shape: [3], data: Int32Array.of(1, 2, 3) }],
        ["x", x],
      ]),
    );
    await isRead("gap.npz");
    expect(await problem()).toMatch(/1 mode, CP needs 2/);
    await choose("Array", "1");
    await page.waitForFunction(() => /not finite/.test(document.querySelector(".problem")?.textContent ?? ""));
    expect(await problem()).toMatch(/^1 entry is not finite \(1 missing, 0 infinite\), the first at \[1, 6, 5\]\./);
    expect(await page.$eval(".runner .run", (button) => (button as HTMLButtonElement).disabled)).toBe(true);
    await choose("Entries that are not finite", "mean");
    await page.waitForFunction(() => !document.querySelector(".problem"));
    expect(await fact("all")).toBe(before);
    await again("Decompose");
    expect(await fact("all")).not.toBe(before);
    // left out, they are not in the error, and a method that cannot leave them out says so
    const filled = await fact("all");
    await choose("Entries that are not finite", "missing");
    await again("Decompose");
    expect(Math.abs((await fact("all")) / before - 1)).toBeLessThan(0.05);
    expect(await fact("all")).not.toBe(filled);
    await choose("Method", "tucker");
    await choose("Algorithm", "hosvd");
    await page.waitForFunction(() => /takes no missing/.test(document.querySelector(".problem")?.textContent ?? ""));
    await choose("Method", "cp");
    // a table that is broken in its middle
    await drop("broken.csv", "1,2,3\n4,5,6\n7,8\n");
    await page.waitForFunction(() =>
      /line 3 has 2 columns/.test(document.querySelector(".problem")?.textContent ?? ""),
    );
  });

  it("MATLAB's v7.3 is read by a part of the page that comes with it, and PARAFAC2 takes its slices", async () => {
    await visit("tensor?data=file&method=parafac2&rank=2");
    expect([...loaded].filter((name) => /hdf5/.test(name))).toEqual([]);
    await drop("slices.mat", readFileSync(join(import.meta.dirname, "../fixtures/io/tensors/v73.mat")));
    await isRead("slices.mat");
    expect(await page.$eval("#file", (file) => file.textContent)).toMatch(/version 7\.3[\s\S]*4 × 3 × 2/);
    await again("Decompose");
    expect(await fact("all")).toBeLessThan(1);
    expect((await figures()).filter((name) => /factor/.test(name))).toEqual(["factor-0", "factor-1", "factor-2"]);
    const saving = await catchDownload();
    await press("Download the factors (.npz)");
    expect([...readNpz(await saving()).keys()]).toEqual([
      ...["weights", "a", "b", "c", "projection_0", "projection_1", "projection_2", "projection_3"],
    ]);
    expect((await memory()).live).toBe(0);
  });

  it("slices of several lengths in one file are PARAFAC2's", async () => {
    await visit("tensor?data=file&method=parafac2&rank=2");
    const { data } = planted();
    const slices = [7, 12, 9].map((rows, k): [string, NumericArray] => [
      `run${k}`,
      { shape: [rows, 8], data: data.slice(80 * k, 80 * k + 8 * rows) },
    ]);
    await drop("runs.npz", writeNpz(slices));
    await isRead("runs.npz");
    expect(await page.$eval("#file", (file) => file.textContent)).toMatch(/3 slices of 7 to 12 × 8/);
    await again("Decompose");
    expect(await fact("all")).toBeLessThan(0.5);
    const saving = await catchDownload();
    await press("Download the factors (.npz)");
    const saved = readNpz(await saving());
    expect([0, 1, 2].map((k) => saved.get(`projection_${k}`)!.shape)).toEqual([7, 12, 9].map((rows) => [rows, 2]));
    expect((await memory()).live).toBe(0);
  });

  it("stops", async () => {
    await visit("tensor?data=example&method=cp&algorithm=als&rank=12&starts=50&sweeps=5000");
    await press("Decompose");
    await says(/^Sweep/);
    await page.waitForSelector("#live svg path");
    await press("Stop");
    await ends("stopped");
    expect(await status()).toMatch(/^Stopped after \d+ sweeps?: error/);
    expect((await memory()).live).toBe(0);
  });

  it("holds no task of 50 ms, neither for a large array nor for a long table", RETRIED, async () => {
    await visit("tensor?data=file&method=tucker&algorithm=st-hosvd&ranks=4");
    await holdsNoLongTask(async () => {
      // made in the page: 16 MB and 200,000 lines
      await page.evaluate(async () => {
        const breathe = () => new Promise((resolve) => setTimeout(resolve));
        const header = "{'descr': '<f4', 'fortran_order': False, 'shape': (4000, 40, 25), }".padEnd(117);
        const start = new TextEncoder().encode(`\0NUMPY\x01\0\x76\0${header}\n`);
        start[0] = 0x93;
        const parts: BlobPart[] = [start];
        for (let row = 0; row < 4000; row += 100) {
          parts.push(Float32Array.from({ length: 100_000 }, (_, at) => Math.sin(at + row)));
          await breathe();
        }
        const data = new DataTransfer();
        data.items.add(new File(parts, "large.npy"));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
      });
      await isRead("large.npy");
      await again("Decompose");
      await settled();
      await page.evaluate(() => {
        const data = new DataTransfer();
        data.items.add(
          new File(
            Array.from({ length: 200 }, () => "1.5,2.25,-3e-2,4\n".repeat(1000)),
            "long.csv",
          ),
        );
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
      });
      await isRead("long.csv");
    });
    expect(await page.$eval("#file", (file) => file.textContent)).toContain("200000 × 4");
  });

  it("is for everyone: axe finds nothing, light and dark, and it fits phones and tablets", async () => {
    await visit("tensor?data=example&method=tucker&algorithm=hosvd&ranks=3&image=1x2");
    await press("Decompose");
    await ends();
    await drop("words.csv", "to be,or\nnot to,be\n");
    await page.waitForSelector(".problem");
    await page.waitForSelector("[data-figure=images] svg");
    await settled();
    await expectForEveryone();
  });
});
