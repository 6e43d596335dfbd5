import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { createRequire } from "node:module";
import { constants, homedir, tmpdir } from "node:os";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

/** The folders in which the Vulkan loader looks for drivers on Linux, in its documentation's order. */
function driverFolders(): string[] {
  const { XDG_CONFIG_HOME, XDG_CONFIG_DIRS, XDG_DATA_HOME, XDG_DATA_DIRS } = process.env;
  const roots = [
    XDG_CONFIG_HOME ?? join(homedir(), ".config"),
    ...(XDG_CONFIG_DIRS ?? "/etc/xdg").split(":"),
    "/usr/local/etc",
    "/etc",
    XDG_DATA_HOME ?? join(homedir(), ".local/share"),
    ...(XDG_DATA_DIRS ?? "/usr/local/share:/usr/share").split(":"),
  ];
  return [...new Set(roots.filter(Boolean).map((root) => join(root, "vulkan/icd.d")))];
}

/** Manifest files of the Vulkan drivers that are installed on this Linux machine, or that the environment names. */
export function installedDrivers(): string[] {
  const listed = (names: string): string[] => names.split(":").filter(existsSync);
  const named = process.env.VK_DRIVER_FILES ?? process.env.VK_ICD_FILENAMES;
  if (named) return listed(named);
  const inFolders = driverFolders().flatMap((folder) =>
    existsSync(folder) ? readdirSync(folder).map((file) => join(folder, file)) : [],
  );
  return [...listed(process.env.VK_ADD_DRIVER_FILES ?? ""), ...inFolders];
}

/** The folder of an installed npm package, as the working directory's project sees it, or else as tenfold does; or null. */
export function packageFolder(name: string): string | null {
  for (const from of [join(process.cwd(), "x.js"), import.meta.url]) {
    for (const folder of createRequire(from).resolve.paths(name) ?? []) {
      if (existsSync(join(folder, name, "package.json"))) return join(folder, name);
    }
  }
  return null;
}

/**
 * Unpacks archives from the folder `bin` of @sparticuz/chromium into a cached folder, and returns that folder. The first call
 * unpacks, later calls and processes find the folder. `x.tar.br` is unpacked as an archive, `x.br` as the program `x`. Null where
 * the package is not installed, the machine is not Linux on x86-64, or no folder can be written.
 */
export async function unpackChromium(name: string, archives: readonly string[]): Promise<string | null> {
  const folder = packageFolder("@sparticuz/chromium");
  if (!folder || process.platform !== "linux" || process.arch !== "x64") return null;
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { version: string };
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "tenfold");
  for (const root of [cache, join(tmpdir(), "tenfold-cache")]) {
    const target = join(root, `${name}-${version}`);
    if (existsSync(target)) return target;
    const draft = `${target}.${process.pid}`;
    try {
      mkdirSync(draft, { recursive: true });
      // tar-fs is a dependency of the package
      const { extract } = createRequire(join(folder, "package.json"))("tar-fs") as { extract(to: string): Writable };
      await Promise.all(
        archives.map((archive) => {
          const program = join(draft, archive.replace(/\.br$/, ""));
          const to = archive.endsWith(".tar.br") ? extract(draft) : createWriteStream(program, { mode: 0o755 });
          return pipeline(createReadStream(join(folder, "bin", archive)), createBrotliDecompress(), to);
        }),
      );
      renameSync(draft, target);
      return target;
    } catch {
      // either another process was first, and its folder is taken, or the folder cannot be written, and the next one is tried
      rmSync(draft, { recursive: true, force: true });
      if (existsSync(target)) return target;
    }
  }
  return null;
}

/**
 * Sets a variable of the environment for native libraries: in Bun, `process.env` is a copy that they do not see.
 * What `bun:ffi` calls is the C library's own function.
 */
async function setForLibraries(name: string, value: string): Promise<void> {
  process.env[name] = value;
  if (!process.versions.bun) return;
  // not a literal, so that bundlers leave it alone
  const module = "bun:ffi";
  const { dlopen } = (await import(/* @vite-ignore */ module)) as {
    dlopen(
      file: string,
      functions: object,
    ): { symbols: { setenv(name: Uint8Array, value: Uint8Array, over: number): number } };
  };
  const text = (words: string): Uint8Array => new TextEncoder().encode(`${words}\0`);
  const { symbols } = dlopen("libc.so.6", { setenv: { args: ["cstring", "cstring", "i32"], returns: "i32" } });
  symbols.setenv(text(name), text(value), 1);
}

/**
 * Makes the SwiftShader of @sparticuz/chromium the Vulkan driver of this process; returns whether that succeeded. dlopen with
 * NODELETE keeps the package's Vulkan loader in memory, although Node rejects it because it is no addon. Dawn then finds the
 * loader by its name, without LD_LIBRARY_PATH or a second process.
 */
export async function usePackagedSwiftShader(): Promise<boolean> {
  const folder = await unpackChromium("swiftshader", ["swiftshader.tar.br"]);
  if (!folder) return false;
  const manifest = join(folder, "vk_swiftshader_icd.json");
  await setForLibraries("VK_ICD_FILENAMES", manifest);
  // the loader prefers this one where it is set
  if (process.versions.bun) await setForLibraries("VK_DRIVER_FILES", manifest);
  else delete process.env.VK_DRIVER_FILES;
  const RTLD_NODELETE = 0x1000;
  try {
    process.dlopen({ exports: {} }, join(folder, "libvulkan.so.1"), constants.dlopen.RTLD_NOW | RTLD_NODELETE);
  } catch (error) {
    // Node, and Bun, of a library that is loaded and is no addon
    return /self-register|napi_register_module/.test((error as Error).message);
  }
  return true;
}
