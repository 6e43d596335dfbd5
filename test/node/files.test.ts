import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkWritable, FileError, readBytes, writeAtomic, writeAtomicPieces } from "../../src/node/files.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tenfold-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const message = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(FileError);
    return (error as Error).message;
  }
  throw new Error("nothing was thrown");
};

it("writes and reads whole files and leaves nothing beside them", () => {
  const file = join(folder, "a.bin");
  checkWritable(file);
  expect(readdirSync(folder)).toEqual([]);
  writeAtomic(file, Uint8Array.of(1, 2, 3));
  expect([...readBytes(file)]).toEqual([1, 2, 3]);
  checkWritable(file);
  expect([...readBytes(file)]).toEqual([1, 2, 3]);
  writeAtomic(file, "text ×");
  expect(readFileSync(file, "utf8")).toBe("text ×");
  expect(readdirSync(folder)).toEqual(["a.bin"]);
});

it("writes pieces entirely or not at all", async () => {
  const file = join(folder, "a.bin");
  writeFileSync(file, "old");
  const pieces = async function* (failing: boolean) {
    yield Uint8Array.of(1, 2);
    // nothing of it is seen yet
    expect(readFileSync(file, "utf8")).toBe("old");
    if (failing) throw new RangeError("no more pieces");
    yield Uint8Array.of(3);
  };
  await expect(writeAtomicPieces(file, pieces(true))).rejects.toThrow(new RangeError("no more pieces"));
  expect(readFileSync(file, "utf8")).toBe("old");
  expect(readdirSync(folder)).toEqual(["a.bin"]);
  await writeAtomicPieces(file, pieces(false));
  expect([...readBytes(file)]).toEqual([1, 2, 3]);
  expect(readdirSync(folder)).toEqual(["a.bin"]);
  const nowhere = join(folder, "none", "a.bin");
  await expect(writeAtomicPieces(nowhere, pieces(false))).rejects.toMatchObject({
    code: "FILE",
    message: `${nowhere}: cannot be written: no such file or folder`,
  });
});

it("keeps permissions and symbolic links", () => {
  const file = join(folder, "a.bin");
  writeFileSync(file, "old");
  chmodSync(file, 0o640);
  symlinkSync("a.bin", join(folder, "link"));
  writeAtomic(join(folder, "link"), "new");
  expect(readFileSync(file, "utf8")).toBe("new");
  expect(statSync(file).mode & 0o777).toBe(0o640);
  expect(readdirSync(folder).sort()).toEqual(["a.bin", "link"]);
});

it("says why a file cannot be written, before and while writing", () => {
  mkdirSync(join(folder, "sub"));
  writeFileSync(join(folder, "plain"), "");
  for (const work of [checkWritable, (file: string) => writeAtomic(file, "x")]) {
    const say = (...path: string[]) => message(() => work(join(folder, ...path)));
    expect(say("none", "x.npz")).toBe(`${folder}/none/x.npz: cannot be written: no such file or folder`);
    expect(say("sub")).toContain("cannot be written: it is a folder");
    expect(say("plain", "x.npz")).toContain("a part of its path is no folder");
    expect(say("x".repeat(300))).toContain("its name is too long");
  }
  expect(readdirSync(folder).sort()).toEqual(["plain", "sub"]);
});

it.skipIf(!existsSync("/dev/null"))("writes to devices without replacing them", () => {
  checkWritable("/dev/null");
  writeAtomic("/dev/null", "x");
  expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
  expect(readBytes("/dev/null").length).toBe(0);
});

it("says why a file cannot be read", () => {
  expect(message(() => readBytes(join(folder, "x.npy")))).toBe(
    `${folder}/x.npy: cannot be read: no such file or folder`,
  );
  expect(message(() => readBytes(folder))).toContain("cannot be read: it is a folder");
});

const writer = (file: string, size: string): string[] => [resolve("test/node/writer.mjs"), file, size];

describe.skipIf(!existsSync("/dev/fd"))("open descriptors", () => {
  // more than a pipe holds
  const size = 300_000;
  const expected = `before\n${"x".repeat(size)}after\n`;
  const shell = (line: string): string => {
    const quoted = [process.execPath, ...writer("FILE", String(size))].map((word) => `'${word}'`).join(" ");
    const { status, stdout, stderr } = spawnSync(
      "sh",
      ["-c", line.replace(/(\S+)</, (_, file) => quoted.replace("FILE", file))],
      {
        cwd: folder,
        encoding: "utf8",
      },
    );
    expect([status, stderr]).toEqual([0, ""]);
    return stdout;
  };

  it("are written straight, in their place: sockets, pipes and files", () => {
    const { stdout, stderr } = spawnSync(process.execPath, writer("/dev/stdout", String(size)), { encoding: "utf8" });
    expect([stdout === expected, stderr]).toEqual([true, ""]);
    expect(shell("/dev/stdout< | cat") === expected).toBe(true);
    shell("/dev/stdout< > a.txt");
    expect(readFileSync(join(folder, "a.txt"), "utf8") === expected).toBe(true);
    shell("/dev/fd/3< 3>> a.txt");
    expect(readFileSync(join(folder, "a.txt"), "utf8") === expected + "x".repeat(size)).toBe(true);
    expect(readdirSync(folder)).toEqual(["a.txt"]);
  });

  it("are refused where nothing is open", () => {
    for (const work of [checkWritable, (file: string) => writeAtomic(file, "x")])
      expect(message(() => work("/dev/fd/987"))).toBe(
        "/dev/fd/987: cannot be written: nothing is open under this number",
      );
  });
});

it("never leaves half a file, however the program ends", async () => {
  const file = join(folder, "a.bin");
  for (const signal of ["SIGINT", "SIGTERM", "SIGKILL"] as const) {
    const child = spawn(process.execPath, writer(file, "loop"), { stdio: ["ignore", "pipe", "inherit"] });
    await once(child.stdout, "data");
    const ended = once(child, "close");
    await new Promise((resolve) => setTimeout(resolve, 30));
    child.kill(signal);
    await ended;
    const bytes = readFileSync(file);
    expect(bytes.length).toBe(2 ** 22);
    expect(bytes.every((byte) => byte === bytes[0])).toBe(true);
  }
});
