/** The tensors of the gallery that are made from tables and recordings. Runs where Python has NumPy. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";

const docs = join(import.meta.dirname, "../../docs");
const python = (code: string) =>
  spawnSync(process.env.PYTHON ?? "python3", ["-B", "-c", code], {
    encoding: "utf8",
    env: { ...process.env, PYTHONPATH: docs },
  });

it.runIf(python("import numpy").status === 0)("tensors of the gallery are made of what was measured", () => {
  const { stdout, stderr } = python(`
import io, json, os, pickle
import numpy as np
from galleryData import Arrays, bikes, eeg
days = [{"day": 1, "weekday": 6, "hr": 23, "casual": 9, "registered": 16}, {"day": 9, "weekday": 0, "hr": 8, "casual": 1, "registered": 4}]
x = bikes(days)
try:
    bikes([{**days[0], "weekday": 5}])
except ValueError as error:
    wrong = str(error)
# 10 Hz in the second electrode, in the second half
time = np.arange(1024) / 128
signals = np.stack([0 * time, np.where(time >= 4, np.sin(2 * np.pi * 10 * time), 0)], axis=1)
spectra = eeg(signals + 5)
arrays = Arrays(io.BytesIO(pickle.dumps([np.arange(6.0).reshape(2, 3), ["a"]]))).load()
try:
    Arrays(io.BytesIO(pickle.dumps(os.getcwd))).load()
except pickle.UnpicklingError as error:
    refused = str(error)
print(json.dumps({
    "shape": x.shape, "known": int(np.isfinite(x).sum()), "saturday": x[23, 6, 0].tolist(), "sunday": x[8, 0, 2].tolist(), "wrong": wrong,
    "spectra": spectra.shape, "peak": [int(n) for n in np.unravel_index(spectra.argmax(), spectra.shape)], "quiet": float(np.abs(spectra[0]).max()),
    "arrays": [arrays[0].tolist(), arrays[1]], "refused": refused,
}))`);
  expect(stderr).toBe("");
  const { peak, quiet, refused, ...told } = JSON.parse(stdout);
  expect(told).toEqual({
    ...{ shape: [24, 7, 53, 2], known: 4, saturday: [3, 4], sunday: [1, 2] },
    wrong: "bikes: day 1 is weekday 5, needs 6",
    ...{
      spectra: [2, 43, 29],
      arrays: [
        [
          [0, 1, 2],
          [3, 4, 5],
        ],
        ["a"],
      ],
    },
  });
  expect(peak.slice(0, 2)).toEqual([1, 10 - 3]);
  // windows from 4 s on
  expect(peak[2]).toBeGreaterThanOrEqual(16);
  expect(quiet).toBeLessThan(1e-9);
  expect(refused).toMatch(/getcwd is no array/);
});
