/** Which test files a change asks for, so that `npm run check` need not run all. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname } from "node:path";

/** The content of files by path, as in a checkout. */
export type Files = ReadonlyMap<string, string>;

const isTest = (path: string): boolean => path.endsWith(".test.ts");
/** `conv2d` of `src/ops/conv2d.ts` and of `test/ops/conv2d.test.ts` */
const stemOf = (path: string): string => basename(path).split(".")[0]!;
/** The folder of tests that is named after the first one under `src`: `ops` of `src/ops/x.ts`; of shaders it is `ops` too. */
const roomOf = (path: string): string => {
  const [top, room = ""] = path.split("/");
  if (top === "shaders") return "ops";
  return top === "src" || top === "test" ? room : top!;
};

/**
 * The tests for changed files: of a test itself; of anything else the tests that import it or are named after it or its
 * folder, of a shader those of the ops that use it; where there are none, all tests of its room.
 *
 * @param changed paths from the root, with `/`
 * @param files what there is under src, shaders and test
 */
export function testsFor(changed: readonly string[], files: Files): string[] {
  const tests = [...files.keys()].filter((path) => isTest(path) && !/^test\/(slow|demo)\//.test(path));
  const selected = new Set<string>();
  const importing = (path: string, among: readonly string[]): string[] =>
    among.filter((other) =>
      // the code of some shaders loads late
      ['"', '?late"'].some((end) => files.get(other)!.includes(`/${basename(path).replace(/\.ts$/, ".js")}${end}`)),
    );
  const visit = (path: string): void => {
    if (isTest(path)) {
      if (tests.includes(path)) selected.add(path);
      return;
    }
    if (path.endsWith(".wgsl")) {
      const ops = importing(
        path,
        [...files.keys()].filter((other) => other.startsWith("src/ops/")),
      );
      if (ops.length) {
        ops.forEach(visit);
        return;
      }
    }
    const room = tests.filter((test) => test.startsWith(`test/${roomOf(path)}/`));
    const names = [stemOf(path), basename(dirname(path))];
    const near = new Set([
      ...room.filter((test) => names.includes(stemOf(test))),
      // an index is imported by all
      ...(stemOf(path) === "index" ? [] : importing(path, tests)),
    ]);
    for (const test of near.size ? near : room) selected.add(test);
  };
  for (const path of changed) if (/^(src|shaders|test|bench)\//.test(path)) visit(path);
  return [...selected].sort();
}

const git = (...args: string[]): string[] =>
  execFileSync("git", args, { encoding: "utf8" })
    .split("\n")
    .filter((line) => line && existsSync(line));

/** Tests for what is not committed; where all is, for the last commit. The order of floors is always looked at. */
export function changedTests(): string[] {
  const pending = [...git("diff", "--name-only", "HEAD"), ...git("ls-files", "--others", "--exclude-standard")];
  const changed = pending.length ? pending : git("diff", "--name-only", "HEAD~1");
  const paths = ["src", "shaders", "test"]
    .flatMap((folder) => readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => `${folder}/${name}`))
    .filter((path) => /\.(ts|wgsl)$/.test(path));
  const files = new Map(paths.map((path) => [path.replaceAll("\\", "/"), readFileSync(path, "utf8")] as const));
  return ["test/architecture.test.ts", ...testsFor(changed, files)];
}
