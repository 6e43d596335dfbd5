/** What compressed networks answer by onnxruntime-web in headless Chromium: on WebGPU as in WebAssembly. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { compressOnnx } from "../../src/compress/onnx/index.js";
import { openEngine } from "../../src/node/index.js";
import { foldOnnx, quantiseOnnx, readOnnx, writeOnnx } from "../../src/onnx/index.js";

it("compressed networks give the same answers on WebGPU and in WebAssembly", { timeout: 120_000 }, async () => {
  const root = resolve(import.meta.dirname, "../..");
  const file = join(root, "test/fixtures/networks/vgg.onnx");
  const bytes = new Uint8Array(readFileSync(file));
  const folder = mkdtempSync(join(tmpdir(), "tenfold-providers-"));
  using engine = await openEngine();
  try {
    const shapes = { images: [1, 1, 28, 28] };
    const { bytes: small } = await compressOnnx(bytes, { engine, target: { multiplications: 2 }, shapes });
    const { model } = await foldOnnx(readOnnx(small!));
    const weightsOnly = model.graph.node.filter(({ opType }) => opType === "Conv").map(({ name }) => name);
    const { model: int8 } = await quantiseOnnx(model, { ranges: {}, weightsOnly });
    const files = { small: small!, int8: writeOnnx(int8) };
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, `${name}.onnx`), content);
    const paths = [file, ...Object.keys(files).map((name) => join(folder, `${name}.onnx`))];
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [join(root, "bench/onnxBrowser.mjs"), "--rounds", "1", ...paths],
      { cwd: root, encoding: "utf8" },
    );
    expect([status, stderr]).toEqual([0, ""]);
    for (const name of ["vgg", "small", "int8"])
      expect(stdout).toMatch(new RegExp(`${name} +webgpu .*e-0[4-9]|${name} +webgpu .*e-[1-9]`));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
