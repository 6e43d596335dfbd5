/** What is published, as a user would meet it: packed, unpacked, compiled against, bundled and run. */
import { rmSync } from "node:fs";
import { apiProblems } from "./api.mjs";
import { install, run } from "./install.mjs";
import { sizeProblems } from "./sizes.mjs";
import { typeProblems } from "./types.mjs";

/** Problems that a user of the package would meet, one line each. */
export async function packageProblems() {
  const installed = await install();
  const { folder } = installed;
  try {
    const problems = [...apiProblems(), ...(await sizeProblems(installed)), ...(await typeProblems(installed))];
    // the entries and the command run with nothing else installed
    for (const entry of ["tenfold", "tenfold/compress", "tenfold/node", "tenfold/onnx", "tenfold/ops"])
      await run(process.execPath, ["--input-type=module", "-e", `await import("${entry}")`], folder);
    await run(process.execPath, ["node_modules/tenfold/dist/cli.js", "decompose", "--help"], folder);
    return problems;
  } catch (error) {
    return [error.message];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
