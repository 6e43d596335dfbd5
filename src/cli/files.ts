import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { InputError } from "./context.js";

/** The path of a file that the build puts beside this program. */
export function besideProgram(name: string): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let parent = folder; ; folder = parent) {
    for (const place of [join(folder, name), join(folder, "dist", name)]) if (existsSync(place)) return place;
    parent = dirname(folder);
    if (parent === folder) throw new InputError(`${name} is missing: npm run build makes it`);
  }
}
