/** Packs the package as `npm publish` would, and unpacks it into the node_modules of a small project. */
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, renameSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export const root = resolve(import.meta.dirname, "../..");

/** Runs a program to its end. */
export function execute(program, args, cwd) {
  return new Promise((done, failed) => {
    const child = spawn(program, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text) => (output += text));
    child.on("error", failed);
    child.on("close", (status) => done({ status, output }));
  });
}

/** Runs a program and returns what it says; throws where it fails. */
export async function run(program, args, cwd) {
  const { status, output } = await execute(program, args, cwd);
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${output}`);
  return output;
}

/** A folder with the unpacked package and the type packages that it may meet; the packed file and its bytes. */
export async function install() {
  const folder = mkdtempSync(join(tmpdir(), "tenfold-package-"));
  const modules = join(folder, "node_modules");
  cpSync(join(import.meta.dirname, "consumer"), folder, { recursive: true });
  mkdirSync(join(modules, "@types"), { recursive: true });
  for (const name of ["@webgpu", "@types/node", "undici-types"])
    symlinkSync(join(root, "node_modules", name), join(modules, name), "junction");
  writeFileSync(join(folder, "package.json"), '{ "type": "module", "private": true }\n');
  // npm's own scripts would build again
  await run("npm", ["pack", "--ignore-scripts", "--silent", "--offline", "--pack-destination", folder], root);
  const packed = join(
    folder,
    readdirSync(folder).find((file) => file.endsWith(".tgz")),
  );
  await run("tar", ["xzf", packed, "-C", "node_modules"], folder);
  renameSync(join(modules, "package"), join(modules, "tenfold"));
  return { folder, unpacked: join(modules, "tenfold"), packed, bytes: statSync(packed).size };
}
