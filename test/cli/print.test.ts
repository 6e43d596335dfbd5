import { describe, expect, it, vi } from "vitest";
import { startProgress } from "../../src/cli/progress.js";
import { formatSeconds } from "../../src/cli/table.js";
import { barOf, StatusLine, table } from "../../src/report/terminal.js";

describe("table", () => {
  it("aligns columns without rules or colours", () => {
    const text = table(
      [
        ["3,4,7", 12115, "87.9"],
        ["all", 40000, "91.4"],
      ],
      { head: ["digits", "images", "accuracy"], align: ["left", "right", "right"] },
    );
    expect(text).toBe(
      ["digits  images  accuracy", "3,4,7    12115      87.9", "all      40000      91.4", ""].join("\n"),
    );
  });

  it("wraps the widest columns until it fits", () => {
    const words = "one two three four five six seven eight nine ten ".repeat(6).trim();
    const text = table([
      ["a", words, "10"],
      ["long name", words, "9"],
    ]);
    const lines = text.split("\n");
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
    expect(lines.length).toBeGreaterThan(8);
    for (const word of words.split(" ")) expect(text).toContain(word);
    // nothing is cut off
    expect(text.match(/ten/g)!.length).toBe(12);
  });

  it("keeps line breaks, and prints nothing for nothing", () => {
    expect(table([["a", "x\ny"]])).toBe("a  x\n   y\n");
    expect(table([])).toBe("");
  });

  it("aligns by the places that letters take: none for marks, two for wide ones", () => {
    const lines = table([
      ["‖X − X̂‖", "a"],
      ["日本", "b"],
      ["12345678", "c"],
    ]).split("\n");
    expect(lines.slice(0, 3)).toEqual(["‖X − X̂‖   a", "日本      b", "12345678  c"]);
  });

  it("wraps what has no spaces", () => {
    for (const line of table([["name", "x".repeat(200)]]).split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    expect(table([["name", "x".repeat(200)]]).match(/x/g)!.length).toBe(200);
  });
});

it("formats times", () => {
  expect([0.0004, 0.85, 1, 12.34, 99.9, 245].map(formatSeconds)).toEqual([
    "0 ms",
    "850 ms",
    "1.00 s",
    "12.3 s",
    "99.9 s",
    "4 min 05 s",
  ]);
  expect(formatSeconds(0.9999)).toBe("1.00 s");
  expect(formatSeconds(119.7)).toBe("2 min 00 s");
});

describe("progress", () => {
  const record = (
    isTTY: boolean,
    work: (progress: ReturnType<typeof startProgress>) => void,
    options: { isOpenEnded?: boolean } = {},
  ): string => {
    let text = "";
    const stderr = {
      isTTY,
      columns: 80,
      write: (piece: string) => {
        text += piece;
        return true;
      },
      on: () => {},
    };
    const progress = startProgress({ stderr }, { label: "cp", total: 1000, unit: "sweeps", ...options });
    work(progress);
    progress.stop();
    return text;
  };

  it("prints few plain lines where there is no terminal", () => {
    const text = record(false, (progress) => {
      for (let sweep = 1; sweep <= 137; sweep++) progress.update(sweep, `fit 0.${sweep}`);
    });
    expect(text.trim().split("\n")).toEqual(
      [1, 2, 5, 10, 20, 50, 100, 137].map((sweep) => `cp: ${sweep}/1000 sweeps  fit 0.${sweep}`),
    );
    expect(record(false, () => {})).toBe("");
  });

  it("writes a line anew in its place, not too often, and cuts it where the terminal ends", () => {
    vi.useFakeTimers();
    try {
      const written: string[] = [];
      const line = new StatusLine({ write: (text) => written.push(text), columns: 12 });
      line.show(`${barOf(0.5)} half`);
      line.show("soon after");
      expect(written).toEqual(["\r██████████░\x1b[K"]);
      vi.advanceTimersByTime(100);
      line.show("later");
      line.show("the last");
      line.clear();
      line.show("again");
      line.show("end");
      line.end();
      const next = ["\rlater\x1b[K", "\r\x1b[K", "\ragain\x1b[K", "\rend\x1b[K", "\n"];
      expect(written.slice(1)).toEqual(next);
      expect([-1, 0.31, 2].map(barOf)).toEqual(["░".repeat(20), `${"█".repeat(6)}${"░".repeat(14)}`, "█".repeat(20)]);
    } finally {
      vi.useRealTimers();
    }
  });

  it("draws a bar on a terminal", () => {
    const text = record(true, (progress) => progress.update(500, "fit 0.5"));
    expect(text).toContain("500/1000 sweeps  fit 0.5");
    expect(text).toContain("██████████░░░░░░░░░░");
  });

  it.each([false, true])("tells the time left by what was done since the first step (terminal: %s)", (isTTY) => {
    vi.useFakeTimers();
    try {
      const text = record(isTTY, (progress) => {
        // time before the first update does not count
        vi.advanceTimersByTime(300_000);
        progress.update(1);
        vi.advanceTimersByTime(60_000);
        progress.update(250.5, "half of a sweep counts");
        vi.advanceTimersByTime(30_000);
        progress.update(900, "nearly done");
        vi.advanceTimersByTime(100_000);
        progress.update(20, "slower");
        vi.advanceTimersByTime(1);
        progress.update(1000, "done");
      });
      // at the first sweep there is no estimate; then 249.5 of the 999 sweeps after it took a minute
      expect(text).toContain("1/1000 sweeps");
      expect(text).not.toMatch(/ 1\/1000 sweeps,/);
      expect(text).toContain("250/1000 sweeps, 3 min left  half of a sweep counts");
      expect(text).toContain("900/1000 sweeps, 11 s left  nearly done");
      expect(text).toContain("20/1000 sweeps, 2.7 h left  slower");
      expect(text).toContain("1000/1000 sweeps  done");
    } finally {
      vi.useRealTimers();
    }
  });

  it("tells no time left where the work may end at any step", () => {
    vi.useFakeTimers();
    try {
      const work = (progress: ReturnType<typeof startProgress>) => {
        progress.update(1);
        vi.advanceTimersByTime(60_000);
        progress.update(2, "fit 0.9");
      };
      expect(record(false, work)).toContain("left");
      expect(record(false, work, { isOpenEnded: true })).toMatch(/2\/1000 sweeps {2}fit 0\.9/);
    } finally {
      vi.useRealTimers();
    }
  });
});
