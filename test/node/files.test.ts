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
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { checkWritable, FileError, readBytes, writeAtomic } from "../../src/node/files.js";

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
