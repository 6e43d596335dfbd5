/** What `npm version` makes of CHANGELOG.md and of Python's version. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const { released, renumbered } = (await import(/* @vite-ignore */ join(root, ".ci/release.mjs"))) as {
  released(changelog: string, version: string, date: string): string;
  renumbered(text: string, version: string): string;
};
const read = (file: string): string => readFileSync(join(root, file), "utf8");

it("makes a version of what was not released", () => {
  const first = released(
    "# Changelog\n\n## [Unreleased]\n\nNothing is published yet: soon.\n\n### Added\n\n- A.\n",
    "0.1.0",
    "2026-12-01",
  );
  expect(first).toBe("# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-12-01\n\n### Added\n\n- A.\n");
  const second = released(
    first.replace("[Unreleased]\n", "[Unreleased]\n\n### Fixed\n\n- B.\n"),
    "0.1.1",
    "2026-12-02",
  );
  expect(second).toBe(
    "# Changelog\n\n## [Unreleased]\n\n## [0.1.1] - 2026-12-02\n\n### Fixed\n\n- B.\n\n## [0.1.0] - 2026-12-01\n\n### Added\n\n- A.\n",
  );
  expect(() => released(second, "0.1.2", "2026-12-03")).toThrow("tells nothing of this version");
});

it("takes the files as they are", () => {
  const told = released(read("CHANGELOG.md"), "9.8.7", "2026-12-01");
  expect(told).toMatch(/^## \[Unreleased\]\n\n## \[9\.8\.7\] - 2026-12-01\n\n### Added\n\n- /m);
  expect(renumbered(read("python/tenfold/__init__.py"), "9.8.7")).toContain('\n__version__ = "9.8.7"\n');
});
