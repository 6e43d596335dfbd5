import { describe, expect, it } from "vitest";
import { pack, unpack } from "../../src/experiments/results.js";
import type { ReportData } from "../../src/report/data.js";
import { PLACEHOLDER, renderReport } from "../../src/report/render.js";

const template = `<html><script type="application/json" id="${PLACEHOLDER}">null</script><p>page</p></html>`;
const data: ReportData = {
  adapter: "</script><script>alert(1)</script>",
  data: "a $& b",
  command: "tenfold mnist",
  date: "2026-01-01T00:00:00.000Z",
  recipe: "default",
  seed: 1,
  cases: [],
};

describe("renderReport", () => {
  it("puts the data in so that it comes out as it was, and ends no script early", () => {
    const html = renderReport(template, data);
    const inside = html.slice(html.indexOf(">", html.indexOf(PLACEHOLDER)) + 1, html.indexOf("</script>"));
    expect(JSON.parse(inside)).toEqual(data);
    expect(html.endsWith("<p>page</p></html>")).toBe(true);
    expect(html.match(/<\/script>/g)).toHaveLength(1);
  });

  it("wants a page of ours", () => {
    expect(() => renderReport("<html></html>", data)).toThrow(/no element tenfold-report-data/);
  });
});

describe("packed arrays", () => {
  it("come back as they were", () => {
    const bytes = Uint8Array.from({ length: 70_001 }, (_, i) => i % 251);
    expect(unpack(pack(bytes, [70_001]))).toEqual(bytes);
    const floats = Float32Array.of(0.1, -2.5e8, 1e-30);
    expect(unpack(pack(floats, [3]))).toEqual(floats);
  });
});
