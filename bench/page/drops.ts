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
