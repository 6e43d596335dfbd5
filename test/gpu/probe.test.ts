/** How one of several kernels is chosen, with times that are made up: no GPU, and the same every time. */
import { describe, expect, it } from "vitest";
import { Chooser, type ChooserOptions } from "../../src/gpu/chooser.js";
import { Kernel, Variants } from "../../src/gpu/index.js";
import { fastestOf, ProbedChoices, type Trial } from "../../src/gpu/probe.js";
import { affine, affineShader } from "./kernels.js";

/** Milliseconds of one run, by variant and size of its sample. */
type Times = (variant: string, size: number) => number;

/** Trials that take the times they are told to, and what was asked of them. */
function trials(timeOf: Times) {
  const log: string[] = [];
  let open = 0;
  const prepare = async (variant: string, size: number): Promise<Trial> => {
    log.push(`${variant} ${size}`);
    open++;
    return {
      time: async (runs) => runs * timeOf(variant, size),
      destroy: () => void open--,
    };
  };
  return { log, prepare, open: () => open };
}

describe("the fastest of several variants", () => {
  it("is named after one sample where its runs are long enough", async () => {
    const { log, prepare, open } = trials((variant) => (variant === "b" ? 9 : 20));
    expect(await fastestOf(["a", "b", "c"], prepare)).toBe("b");
    expect(log).toEqual(["a 1", "b 1", "c 1"]);
    expect(open()).toBe(0);
  });

  it("is looked for in larger samples, up to 8, while they are over at once", async () => {
    // what a small sample hides: the launch costs 0.1 ms, whatever the kernel
    const { log, prepare, open } = trials((variant, size) => 0.1 + (variant === "a" ? 0.02 : 0.01) * size);
    expect(await fastestOf(["a", "b"], prepare)).toBe("b");
    expect(log).toEqual([1, 2, 4, 8].flatMap((size) => [`a ${size}`, `b ${size}`]));
    expect(open()).toBe(0);
  });

  it("drops the variants that are slower by a factor of 3 before a larger sample", async () => {
    const times: Record<string, number> = { a: 1, b: 0.9, c: 3.1, d: 2.6 };
    const { log, prepare } = trials((variant) => times[variant]!);
    expect(await fastestOf(["a", "b", "c", "d"], prepare)).toBe("a");
    expect(log.filter((entry) => entry.endsWith(" 2"))).toEqual(["a 2", "b 2", "d 2"]);
  });

  it("is the one listed first where the times are near", async () => {
    const near = (variant: string) => (variant === "a" ? 10 : 8.1);
    expect(await fastestOf(["a", "b"], trials(near).prepare)).toBe("a");
    expect(await fastestOf(["b", "a"], trials(near).prepare)).toBe("b");
    const clear = (variant: string) => (variant === "a" ? 10.2 : 8.1);
    expect(await fastestOf(["a", "b"], trials(clear).prepare)).toBe("b");
  });

  it("is judged by the best of three turns, all variants in turn, of runs that last 10 ms", async () => {
    const turns: string[] = [];
    const times = { a: [5, 4, 30, 4], b: [2, 30, 30, 3] };
    const prepare = async (variant: string): Promise<Trial> => {
      const left = [...times[variant as "a" | "b"]];
      return {
        time: async (runs) => {
          turns.push(`${variant}×${runs}`);
          return runs * 4 * left.shift()!;
        },
        destroy: () => {},
      };
    };
    expect(await fastestOf(["a", "b"], prepare)).toBe("b");
    expect(turns).toEqual(["a×1", "b×1", "a×1", "b×1", "a×1", "b×1", "a×1", "b×1"]);
    turns.length = 0;
    const short = async (variant: string): Promise<Trial> => ({
      time: async (runs) => {
        turns.push(`${variant}×${runs}`);
        return 3 * runs;
      },
      destroy: () => {},
    });
    expect(await fastestOf(["a", "b"], short)).toBe("a");
    expect(turns.slice(0, 4)).toEqual(["a×1", "b×1", "a×4", "b×4"]);
    // no more than 16 runs a turn, also of what takes no time at all
    turns.length = 0;
    const none = async (variant: string): Promise<Trial> => ({
      time: async (runs) => {
        turns.push(`${variant}×${runs}`);
        return 0;
      },
      destroy: () => {},
    });
    expect(await fastestOf(["a", "b"], none)).toBe("a");
    expect(turns.slice(0, 4)).toEqual(["a×1", "b×1", "a×16", "b×16"]);
  });

  it("leaves nothing open where a sample cannot be prepared", async () => {
    const { prepare, open } = trials(() => 1);
    const failing = (variant: string, size: number): Promise<Trial> =>
      variant === "c" ? Promise.reject(new Error("no sample")) : prepare(variant, size);
    await expect(fastestOf(["a", "b", "c"], failing)).rejects.toThrow("no sample");
    expect(open()).toBe(0);
  });
});

describe("choices that engines share", () => {
  it("are probed once, also by those who ask meanwhile", async () => {
    const choices = new ProbedChoices();
    let probes = 0;
    const probe = async (): Promise<string> => `choice ${++probes}`;
    expect(await Promise.all([choices.of("k", probe), choices.of("k", probe)])).toEqual(["choice 1", "choice 1"]);
    expect(await choices.of("k", probe)).toBe("choice 1");
    expect(await choices.of("other", probe)).toBe("choice 2");
  });

  it("are probed one at a time", async () => {
    const choices = new ProbedChoices();
    const log: string[] = [];
    const probe = (name: string) => async (): Promise<string> => {
      log.push(`${name} begins`);
      await new Promise((resolve) => setTimeout(resolve, 5));
      log.push(`${name} ends`);
      if (name === "a") throw new Error("a fails");
      return name;
    };
    const outcomes = await Promise.allSettled([choices.of("a", probe("a")), choices.of("b", probe("b"))]);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
    expect(log).toEqual(["a begins", "a ends", "b begins", "b ends"]);
  });

  it("that failed are probed again, by those who waited too", async () => {
    const choices = new ProbedChoices();
    let probes = 0;
    const probe = async (): Promise<string> => {
      if (++probes === 1) throw new Error("the device was lost");
      return "fine";
    };
    const [first, ...others] = [choices.of("k", probe), choices.of("k", probe), choices.of("k", probe)];
    await expect(first).rejects.toThrow("the device was lost");
    expect(await Promise.all(others)).toEqual(["fine", "fine"]);
    expect(probes).toBe(2);
  });
});

describe("a chooser", () => {
  const twin = new Kernel({ ...affineShader, name: "affine_twin" }, affine.grid);
  const needy = new Kernel({ ...affineShader, name: "affine_needy", features: ["subgroups"] }, affine.grid);
  const variants = new Variants("chooser test", { needy, twin, affine }, () => {});
  const chooser = (times: Times, options: Partial<ChooserOptions> = {}) => {
    const { log, prepare } = trials(times);
    const made = new Chooser({
      adapterName: () => "made up",
      features: new Set<string>(),
      forced: {},
      prepare: (_, variant, size) => prepare(variant, size),
      choices: new ProbedChoices(),
      ...options,
    });
    return { made, log };
  };
  const affineIsFast: Times = (variant) => (variant === "affine" ? 10 : 20);

  it("takes the fastest of the variants whose features the device has", async () => {
    const { made, log } = chooser(affineIsFast);
    expect(await made.choose(variants)).toBe(affine);
    expect(log).toEqual(["twin 1", "affine 1"]);
    const able = chooser((variant) => (variant === "needy" ? 9 : 20), { features: new Set(["subgroups"]) });
    expect(await able.made.choose(variants)).toBe(needy);
  });

  it("remembers a choice by adapter, name and variants", async () => {
    const choices = new ProbedChoices();
    const first = chooser(affineIsFast, { choices });
    const second = chooser(affineIsFast, { choices });
    const elsewhere = chooser(affineIsFast, { choices, adapterName: () => "another" });
    for (const { made } of [first, second, elsewhere]) expect(await made.choose(variants)).toBe(affine);
    expect([first, second, elsewhere].map(({ log }) => log.length)).toEqual([2, 0, 2]);
    // another specialisation of the same kernels goes by the same choice
    const special = variants.with({ SIZE: 32 });
    expect((await second.made.choose(special)).key).toBe("affine{SIZE=32}");
    expect(second.log).toEqual([]);
  });

  it("does not probe what is forced, nor what leaves no choice", async () => {
    const forced = chooser(affineIsFast, { forced: { "chooser test": "twin" } });
    expect(await forced.made.choose(variants)).toBe(twin);
    expect([forced.made.forced("chooser test"), forced.made.forced("another")]).toEqual(["twin", undefined]);
    const alone = chooser(affineIsFast);
    expect(await alone.made.choose(new Variants("alone", { needy, affine }, () => {}))).toBe(affine);
    expect([...forced.log, ...alone.log]).toEqual([]);
  });
});
