/** Files that the user drops on the page, wherever: for the part that takes them, also where that is loaded first. */
export class FileDrops {
  #pending: File | null = null;
  #listener: ((file: File) => void) | null = null;

  offer(file: File): void {
    if (this.#listener) this.#listener(file);
    else this.#pending = file;
  }

  /** Hands files to `listener` from now on, and one that was dropped before; returns what ends that. */
  listen(listener: (file: File) => void): () => void {
    this.#listener = listener;
    const file = this.#pending;
    this.#pending = null;
    if (file) listener(file);
    return () => {
      if (this.#listener === listener) this.#listener = null;
    };
  }
}
