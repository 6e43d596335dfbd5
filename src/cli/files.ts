import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkWritable } from "../node/files.js";
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

/** Makes the folder of a report, and checks that its page can be written there. */
export function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new InputError(`${folder}: cannot be made (${(error as Error).message})`);
  }
  checkWritable(join(folder, "index.html"));
}
