/** onnx's own checker, where Python has onnx. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const python = process.env.PYTHON ?? "python3";
export const hasOnnx = spawnSync(python, ["-c", "import onnx"]).status === 0;

/**
 * What onnx's checker and its strict shape inference say of models; nothing where all are right, or Python has no onnx.
 *
 * @param beside other files of their folder, by name
 */
export function checkOnnx(
  models: ReadonlyMap<string, Uint8Array>,
  beside: ReadonlyMap<string, Uint8Array> = new Map(),
): string {
  if (!hasOnnx) return "";
  const folder = mkdtempSync(join(tmpdir(), "tenfold-onnx-"));
  try {
    for (const [name, bytes] of [...models, ...beside]) writeFileSync(join(folder, name), bytes);
    const words = [join(import.meta.dirname, "check.py"), ...[...models.keys()].map((name) => join(folder, name))];
    const { stdout, stderr, status } = spawnSync(python, words, { encoding: "utf8" });
    return status === 0 ? "" : `${status}: ${stdout}${stderr}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
