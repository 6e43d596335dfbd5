/** What of src is the command's alone: it is bundled into one file, with the packages that it needs. */
export const OF_THE_COMMAND: readonly string[] = ["cli", "experiments", "methods", "report"];

/**
 * Where a module of src lies in the package, both without their endings. npm packs files in the order of their names without folders, and what
 * is alike is packed smaller side by side: so a name begins with its folder's. An index keeps its name.
 */
export function placeOfModule(name: string): string {
  const [, folder, file] = /^(.+)\/([^/]+)$/.exec(name) ?? [];
  return !folder || file === "index" ? name : `${folder}/${folder.replaceAll("/", ".")}.${file}`;
}
