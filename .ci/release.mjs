/** Run by `npm version`: what was not released becomes a version in CHANGELOG.md, and Python's package gets the same number. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** CHANGELOG.md with what stands under Unreleased as this version. */
export function released(changelog, version, date) {
  const [, before, section, after] =
    /^(.*?^## \[Unreleased\]\n)(.*?)((?:^## \[.*)?)$(?![\s\S])/ms.exec(changelog) ?? [];
  if (before === undefined) throw new Error("CHANGELOG.md has no section [Unreleased]");
  const told = section.replace(/^Nothing is published yet:.*\n/m, "").trim();
  if (!told) throw new Error("CHANGELOG.md tells nothing of this version: its section [Unreleased] is empty");
  return `${before}\n## [${version}] - ${date}\n\n${told}\n${after ? `\n${after}` : ""}`;
}

/** The file of Python's package that names its version, with this one. */
export const renumbered = (text, version) => text.replace(/^(__version__ = )"[^"]*"/m, `$1"${version}"`);

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = join(import.meta.dirname, "..");
  const rewrite = (file, by) => writeFileSync(join(root, file), by(readFileSync(join(root, file), "utf8")));
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  rewrite("CHANGELOG.md", (text) => released(text, version, new Date().toISOString().slice(0, 10)));
  rewrite("python/tenfold/__init__.py", (text) => renumbered(text, version));
}
