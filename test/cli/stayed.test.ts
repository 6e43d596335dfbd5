import { expect, it } from "vitest";
import { stayedNotes } from "../../src/cli/compare.js";
import type { CompressedLayer } from "../../src/compress/index.js";

const layer = (name: string, staysBecause: string) => ({ name, staysBecause }) as CompressedLayer;

it("says once a method and reason which layers stayed", () => {
  const dense = "svd is for dense layers and 1×1 kernels";
  const rows = [
    {
      method: "svd",
      layers: [layer("Conv2d 1→6, 5×5", dense), layer("Conv2d 6→16, 5×5", dense), layer("Linear 4→3", "")],
    },
    { method: "svd", layers: [layer("Conv2d 1→6, 5×5", dense), layer("Linear 4→3", "it would grow")] },
    { method: "cp", layers: [layer("Conv2d 1→6, 5×5", ""), layer("Linear 4→3", "it would grow")] },
  ];
  expect(stayedNotes(rows)).toEqual([
    `– svd: Conv2d 1→6, Conv2d 6→16: ${dense}`,
    "– svd: Linear 4→3: it would grow",
    "– cp: Linear 4→3: it would grow",
  ]);
  expect(stayedNotes([])).toEqual([]);
});
