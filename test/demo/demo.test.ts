/** The demo page in a real browser on the software adapter: `vitest run --mode demo`, a step of its own in test/run.mjs. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import {
  again,
  catchDownload,
  choose,
  ends,
  expected,
  expectForEveryone,
  folder,
  holdsNoLongTask,
  loaded,
  longestTask,
  memory,
  open,
  page,
  press,
  RETRIED,
  runs,
  says,
  set,
  settled,
  status,
  visit,
} from "./page.js";

const error = (): Promise<number> => page.$eval("#facts", (element) => Number((element as HTMLElement).dataset.error));

describe("the first load", () => {
  it("is small, and asks no other host", async () => {
    await visit("decompose?images=400&rank=3");
    await ends();
    const kilobytes = (name: string): number => gzipSync(readFileSync(join(folder, name))).length / 1000;
    const first = [...loaded].filter((name) => name !== "digits.bin");
    const total = first.reduce((sum, name) => sum + kilobytes(name), 0);
    const digits = readFileSync(join(folder, "digits.bin")).length / 1000;
    console.log(`first load: ${total.toFixed(0)} kB gzip, digits ${digits.toFixed(0)} kB`);
    expect(first.length).toBeGreaterThan(3);
    expect(first.filter((name) => name.endsWith(".safetensors"))).toEqual([]);
    expect(total).toBeLessThan(130);
    expect(digits).toBeLessThan(2000);
  });
});

describe("Decompose", () => {
  it.each([
    ["tucker", 3, false],
    ["tucker", 5, true],
    ["tucker10", 4, false],
    ["cp", 4, false],
  ] as const)("%s at rank %i, centred: %s, tells the library's error", async (method, rank, centred) => {
    await visit(`decompose?images=400&method=${method}&rank=${rank}${centred ? "&centred=1" : ""}`);
    await ends();
    const libraryError = await expected("decomposition", {
      first: 400,
      digits: [3, 4, 7],
      method,
      rank,
      centred,
      seed: 1,
    });
    expect(await error()).toBeCloseTo(libraryError, 5);
    expect((await memory()).live).toBe(0);
  });

  it("recomputes nothing for ranks that a larger one gave", async () => {
    await visit("decompose?images=400&rank=12");
    await ends();
    const submits = () => page.evaluate(() => window.demo.engine!.counters.submits);
    const before = await submits();
    const errors: number[] = [await error()];
    for (const rank of [7, 3, 20]) {
      await set("Rank", rank);
      await page.waitForSelector(`#facts[data-rank="${rank}"]`);
      errors.push(await error());
      expect(await page.$$eval(".components figure:not([hidden])", (figures) => figures.length)).toBe(rank);
    }
    expect(await submits()).toBe(before);
    const [twelve, seven, three, twenty] = errors as [number, number, number, number];
    expect(three > seven && seven > twelve && twelve > twenty).toBe(true);
    // beyond what is known
    await set("Rank", 21);
    await runs();
    await ends();
    expect(await submits()).toBeGreaterThan(before);
  });

  it("links images and loadings", async () => {
    await visit("decompose?images=400&rank=3");
    await ends();
    await page.waitForSelector(".plot svg circle");
    await settled();
    await page.focus(".grid");
    await page.keyboard.press("ArrowRight");
    expect(await page.$eval(".picked", (element) => element.textContent)).toMatch(/^Image 2: a [347]\. \d+ %/);
    expect(await page.$$eval(".ring", (rings) => rings.length)).toBe(1);
    await page.focus("[aria-label^='Dots']");
    await page.keyboard.press("ArrowRight");
    expect(await page.$eval(".tip", (tip) => [(tip as HTMLElement).hidden, tip.textContent])).toEqual([
      false,
      expect.stringMatching(/^a [347]$/),
    ]);
    await page.evaluate(() => (document.activeElement as HTMLElement).blur());
    await press("next hundred ›");
    expect(await page.evaluate(() => location.hash)).toContain("at=100");
  });

  it("stops when told to, and when the page is left for another part", async () => {
    const slow = "decompose?digits=0123456789&images=3000&method=cp&rank=40";
    await visit(slow);
    await says(/sweep/);
    await press("Stop");
    await ends("stopped");
    expect((await memory()).live).toBe(0);
    await press("Run");
    await says(/sweep/);
    await page.click("nav a[href^='#kernels']");
    await page.waitForSelector("#part-kernels .runner");
    await page.evaluate(() => window.demo.leaving);
    expect((await memory()).live).toBe(0);
  });
});

describe("the URL", () => {
  it("holds the state: Back and Forward go through it", async () => {
    await visit("decompose?images=400&rank=3");
    await ends();
    const hash = () => page.evaluate(() => location.hash);
    const method = () =>
      page.$eval("::-p-xpath(//label[contains(., 'Method')]//select)", (select) => (select as HTMLSelectElement).value);
    await set("Rank", 6);
    await choose("Method", "cp");
    await says(/at rank 6\.$/);
    await ends();
    expect(await hash()).toContain("method=cp&rank=6");
    await page.click("nav a[href^='#kernels']");
    await page.waitForSelector("#part-kernels .runner");
    await page.goBack();
    await page.waitForSelector("#part-decompose .runner");
    expect(await method()).toBe("cp");
    await says(/at rank 6\.$/);
    await page.goBack();
    await says(/at rank 20\.$/);
    expect(await method()).toBe("tucker");
    expect(await hash()).toContain("rank=6");
    await page.goForward();
    await says(/at rank 6\.$/);
    expect(await method()).toBe("cp");
    expect(await page.$eval("#facts", (element) => (element as HTMLElement).dataset.rank)).toBe("6");
    await ends();
  });

  it.each(["nothing?x=1", "decompose?digits=3&rank=-4&images=x&method=svd&at=1e9", "kernels?cases=.&rounds=0&with=no"])(
    "takes %s for the nearest that makes sense",
    async (hash) => {
      await visit(hash);
      await page.waitForSelector(".runner");
      await settled();
    },
  );
});

const trainHash = "train?images=1000&epochs=6&seed=2";
const held = (network: string): Promise<string> =>
  page.$eval(`[data-of="${network} held-out accuracy"]`, (cell) => cell.textContent ?? "");

describe("Train", () => {
  it.each(["fixed", "slides"] as const)("tells the library's accuracies with the recipe %s", async (recipe) => {
    await visit(`${trainHash}&recipe=${recipe}`);
    await ends();
    const settings = { first: 1000, digits: [3, 4, 7], rank: 3, hidden: 5, fullHidden: 3, epochs: 6, seed: 2, recipe };
    const accuracies = await expected("training", settings);
    expect([await held("loadings"), await held("pixels")]).toEqual(
      [accuracies.loadings, accuracies.pixels].map((share) => `${(100 * share).toFixed(1)} %`),
    );
  });

  it("answers to a drawing, by mouse and by keys", async () => {
    const answer = () => page.$$eval(".answer td", (cells) => cells.map((cell) => cell.textContent));
    /** whether both small canvases show more than black */
    const inked = () =>
      page.$$eval(".drawing figure canvas", (canvases) =>
        canvases.map((element) => {
          const canvas = element as HTMLCanvasElement;
          const black = document.createElement("canvas");
          [black.width, black.height] = [canvas.width, canvas.height];
          black.getContext("2d")!.fillRect(0, 0, black.width, black.height);
          return canvas.toDataURL() !== black.toDataURL();
        }),
      );
    const drawSeven = async () => {
      await page.$eval(".pad", (pad) => pad.scrollIntoView({ block: "center" }));
      const box = (await (await page.$(".pad"))!.boundingBox())!;
      await page.mouse.move(box.x + 60, box.y + 50);
      await page.mouse.down();
      await page.mouse.move(box.x + 200, box.y + 50, { steps: 5 });
      await page.mouse.move(box.x + 110, box.y + 240, { steps: 5 });
      await page.mouse.up();
    };
    await press("Clear");
    await page.waitForFunction(() => document.querySelectorAll(".answer td").length === 0);
    await drawSeven();
    await page.waitForSelector(".answer td");
    await settled();
    const seven = await answer();
    expect(seven.length).toBe(6);
    expect(await inked()).toEqual([true, true]);
    await press("Clear");
    await page.waitForFunction(() => document.querySelectorAll(".answer td").length === 0);
    await page.focus(".pad");
    await page.keyboard.press("Space");
    for (let i = 0; i < 8; i++) await page.keyboard.press("ArrowDown");
    await page.waitForSelector(".answer td");
    await settled();
    expect(await answer()).not.toEqual(seven);
    await press("Take a held-out image");
    await settled();
    expect(await inked()).toEqual([true, true]);
    // the first stroke takes the image away: what is drawn is what was drawn on an empty pad
    await drawSeven();
    await settled();
    expect(await answer()).toEqual(seven);
  });

  it("stops", async () => {
    await visit("train?images=3000&epochs=2000");
    await says(/epoch/);
    await press("Stop");
    await ends("stopped");
    expect((await memory()).live).toBe(0);
  });
});

/** The kernels part with these cases picked, one round each. */
async function visitCases(names: readonly string[]): Promise<void> {
  await visit("kernels?rounds=1");
  await page.waitForSelector(".cases input");
  const indices = await page.$$eval(
    ".cases label",
    (labels, wanted) => wanted.map((name) => labels.findIndex((label) => label.textContent === name)),
    names,
  );
  expect(Math.min(...indices)).toBeGreaterThanOrEqual(0);
  await visit(`kernels?rounds=1&cases=${indices.sort((a, b) => a - b).join(".")}`);
  await page.waitForSelector(".cases input");
}

describe("Kernels", () => {
  it("measures, checks, tells the adapter's limits and saves", async () => {
    const wanted = ["eigen 16", "Cholesky solve 16", "gram 30000×16"];
    await visitCases(wanted);
    await page.waitForSelector(".results tbody tr");
    await again();
    expect(await status()).toBe("3 cases measured, all correct.");
    const rows = await page.$$eval(".results tbody tr", (lines) =>
      lines.map((row) => [(row as HTMLElement).dataset.state, row.querySelector("td")!.textContent]),
    );
    for (const [how, ms] of rows) expect([how, Number(ms) > 0]).toEqual(["measured", true]);
    expect(await page.$eval("#choices", (element) => element.textContent)).toMatch(/GFLOP\/s.*In force: matmul “.+”/);
    expect(await page.$eval("#part-kernels", (part) => part.textContent)).toContain("maxStorageBufferBindingSize");
    const saving = await catchDownload();
    await press("Download JSON");
    const saved = JSON.parse(new TextDecoder().decode(await saving()));
    expect(saved.results.map((result: { name: string }) => result.name).sort()).toEqual([...wanted].sort());
    expect(saved.probes.flops).toBeGreaterThan(0);
  });

  it("stops", async () => {
    await visit("kernels?cases=all");
    await page.waitForSelector(".cases input");
    await press("Run");
    await says(/of \d+, /);
    await press("Stop");
    await ends("stopped");
  });
});

interface Watched {
  device: GPUDevice;
  buffers: Set<GPUBuffer>;
}

describe("Kernels, again and again", () => {
  it("leaves no buffer behind, run after run, and survives a lost device", async () => {
    await visitCases(["eigen 16"]);
    const [worker] = page.workers();
    // what the benchmark's own engines hold is counted from outside
    await worker!.evaluate(() => {
      const watched = self as unknown as Watched;
      watched.buffers = new Set();
      const { createBuffer } = GPUDevice.prototype;
      GPUDevice.prototype.createBuffer = function (descriptor) {
        watched.device = this;
        const buffer = createBuffer.call(this, descriptor);
        watched.buffers.add(buffer);
        return buffer;
      };
      const { destroy } = GPUBuffer.prototype;
      GPUBuffer.prototype.destroy = function () {
        watched.buffers.delete(this);
        return destroy.call(this);
      };
    });
    const held: number[] = [];
    for (let run = 0; run < 5; run++) {
      await again();
      held.push(await worker!.evaluate(() => (self as unknown as Watched).buffers.size));
    }
    expect(held.at(-1)).toBe(held[2]);
    // long enough to be interrupted
    await choose("Cases", "all");
    await press("Run");
    await says(/of \d+, /);
    await worker!.evaluate(() => (self as unknown as Watched).device.destroy());
    await ends("failed");
    expect(await status()).toContain("Run starts again");
    await page.goBack();
    await page.waitForFunction(() => document.querySelectorAll(".results tbody tr").length === 1);
    await again();
    expect(await status()).toBe("1 case measured, all correct.");
  });
});

describe("what can go wrong", () => {
  it("a lost device: says so, and starts again", async () => {
    await visit("decompose?digits=0123456789&images=3000&method=cp&rank=30");
    await says(/sweep/);
    await page.evaluate(() => window.demo.engine!.device.destroy());
    await page.waitForSelector("#lost");
    await ends("failed");
    await page.evaluate(() => {
      location.hash = "decompose?images=400&rank=3";
    });
    await settled();
    await press("Start again");
    await page.waitForFunction(() => !document.querySelector("#lost"));
    await ends();
    expect(await error()).toBeGreaterThan(0.3);
  });

  it("no WebGPU: says which browser helps, and shows what was recorded", async () => {
    const bare = await open();
    await bare.evaluateOnNewDocument(() => {
      delete (Navigator.prototype as { gpu?: unknown }).gpu;
    });
    for (const part of ["decompose", "train", "kernels"]) {
      await visit(part, bare);
      await bare.waitForSelector("#no-gpu");
      expect(await bare.$eval("#no-gpu", (element) => element.textContent)).toMatch(/Chrome.*Safari.*Firefox/);
      await bare.waitForSelector(`#part-${part}`);
      if (part === "kernels") continue;
      await ends("done", bare);
      expect(await status(bare)).toMatch(/^Recorded on .+, 20\d\d-/);
      await bare.waitForSelector(
        part === "train" ? "[data-of='loadings held-out accuracy']" : "#facts[data-error^='0.']",
      );
      await bare.waitForSelector(".plot svg");
    }
    // all cases: some of them were recorded, whichever those are
    if (readdirSync("bench/results").some((name) => name.endsWith(".json"))) {
      await visit("kernels?cases=all", bare);
      await bare.waitForFunction(() => {
        const cells = [...document.querySelectorAll(".results tbody td:nth-last-child(2)")];
        return cells.some((cell) => /\d/.test(cell.textContent ?? ""));
      });
    }
    await bare.close();
  });
});

describe("no task of the main thread takes 50 ms", RETRIED, () => {
  it.each([
    ["decompose?images=3000&digits=0123456789&rank=12&centred=1", [4, 20, 9]],
    ["train?images=1000&epochs=6", []],
  ] as const)("in %s", async (hash, ranks) => {
    await holdsNoLongTask(async () => {
      await visit(hash);
      await ends();
      for (const rank of ranks) {
        await set("Rank", rank);
        await settled();
      }
      await settled();
    });
  });

  it("and one that does is seen", async () => {
    await visit("kernels");
    const longest = await longestTask(async () => {
      await settled();
      await page.evaluate(() => {
        let sum = 0;
        for (let i = 0; i < 3e8; i++) sum += Math.sqrt(i);
        return sum;
      });
    });
    expect(longest).toBeGreaterThan(50);
  });

  it("in kernels, of all cases", async () => {
    await holdsNoLongTask(async () => {
      await visit("kernels?cases=all&rounds=1");
      await page.waitForSelector(".results tbody tr");
      await page.waitForSelector(".plot svg");
      await settled();
      await press("Run");
      await says(/[12] of \d+, /);
      await press("Stop");
      await ends("stopped");
      await settled();
    });
  });
});

describe("for everyone", () => {
  it.each(["decompose?images=400&rank=3", trainHash, "kernels"])(
    "axe finds nothing in %s, light and dark, and it fits phones and tablets",
    async (hash) => {
      await visit(hash);
      await page.waitForSelector(".runner");
      if (!hash.startsWith("kernels")) await ends();
      await settled();
      await expectForEveryone();
    },
  );

  it("the theme can be chosen, and is remembered", async () => {
    const theme = () => page.$eval("html", (element) => (element as HTMLElement).dataset.theme);
    const before = await theme();
    await page.click("#theme");
    expect(await theme()).not.toBe(before);
    await visit("kernels", page, { reload: true });
    expect(await theme()).not.toBe(before);
    await page.click("#theme");
    expect(await theme()).toBe(before);
  });
});

describe("run after run", () => {
  it("leave nothing behind", async () => {
    const held: Record<string, number[]> = { decompose: [], train: [] };
    await visit("decompose?images=300&rank=3&method=cp");
    await ends();
    const several = async (part: string): Promise<void> => {
      for (let run = 0; run < 8; run++) {
        await again();
        const { live, pooled } = await memory();
        if (part === "decompose") expect(live).toBe(0);
        held[part]!.push(live + pooled);
      }
    };
    await several("decompose");
    // leaving by the link keeps the page and its engine
    await page.evaluate(() => {
      history.replaceState(null, "", "#train?images=300&epochs=2&recipe=slides");
      dispatchEvent(new PopStateEvent("popstate"));
    });
    await page.waitForSelector("#part-train .runner");
    await ends();
    await several("train");
    // the pool settles in the first runs
    for (const bytes of Object.values(held)) expect(bytes.at(-1)).toBe(bytes[4]);
    await page.click("nav a[href^='#kernels']");
    await page.waitForSelector("#part-kernels .runner");
    await page.evaluate(() => window.demo.leaving);
    expect((await memory()).live).toBe(0);
  });
});
