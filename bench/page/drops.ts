/** Files that the user drops on the page, wherever: for the part that takes them, also where that is loaded first. */
export class FileDrops {
  #pending: { part: string; files: readonly File[] } | null = null;
  #listener: { part: string; take: (files: readonly File[]) => void } | null = null;

  /** Files for a part, dropped together. */
  offer(part: string, files: readonly File[]): void {
    if (this.#listener?.part === part) this.#listener.take(files);
    else this.#pending = { part, files };
  }

  /** Hands files for a part to `take` from now on, and those that were dropped before; returns what ends that. */
  listen(part: string, take: (files: readonly File[]) => void): () => void {
    const listener = { part, take };
    this.#listener = listener;
    const pending = this.#pending;
    this.#pending = null;
    if (pending?.part === part) take(pending.files);
    return () => {
      if (this.#listener === listener) this.#listener = null;
    };
  }
}

/** What is used of what a browser tells of a dropped file or folder. */
type Entry = Pick<FileSystemEntry, "isDirectory" | "fullPath">;

/** Files that were dropped, and those of folders that were, in the order of their paths; names that begin with a dot are the system's. */
export async function filesOf({ items, files }: Pick<DataTransfer, "items" | "files">): Promise<File[]> {
  // entries can be asked for only until the first await
  const dropped = [...files];
  const entries = [...items].map((item) => item.webkitGetAsEntry?.() ?? null);
  if (!entries.some((entry) => entry?.isDirectory)) return dropped;
  const all: [path: string, file: File][] = [];
  try {
    for (const entry of entries) if (entry) await walk(entry, all);
  } catch {
    // the part says what it lacks
    return dropped;
  }
  return all.sort(([a], [b]) => (a < b ? -1 : Number(a > b))).map(([, file]) => file);
}

async function walk(entry: Entry, all: [path: string, file: File][]): Promise<void> {
  if (/\/\.[^/]*$/.test(entry.fullPath)) return;
  if (!entry.isDirectory) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    all.push([entry.fullPath, file]);
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  // a browser gives a hundred at a time, and none at the end
  for (let more: FileSystemEntry[]; ; ) {
    more = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!more.length) return;
    for (const one of more) await walk(one, all);
  }
}
