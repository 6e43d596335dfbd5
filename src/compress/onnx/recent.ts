/** What is kept of values that can be computed again. */

/** Kinds of values, in the order in which they are dropped: the first ones take most bytes for what computing them again costs. */
const KINDS = ["layer", "moments", "factors"] as const;
type Kind = (typeof KINDS)[number];

/** Values by kind and key, as many as fit into some bytes; of a kind those that were asked for last. */
export class Recent {
  private readonly values = new Map<Kind, Map<string, { value: unknown; bytes: number }>>(
    KINDS.map((kind) => [kind, new Map()]),
  );
  private held = 0;

  /** @param limit in bytes */
  constructor(private readonly limit: number) {}

  get<T>(kind: Kind, key: string): T | undefined {
    const values = this.values.get(kind)!;
    const entry = values.get(key);
    if (!entry) return undefined;
    // the last ones of a map are those that were used last
    values.delete(key);
    values.set(key, entry);
    return entry.value as T;
  }

  /** Keeps a value. It is dropped when others need the room, at the latest. */
  put(kind: Kind, key: string, value: unknown, bytes: number): void {
    this.drop(kind, key);
    this.makeRoom(bytes);
    this.values.get(kind)!.set(key, { value, bytes });
    this.held += bytes;
  }

  /** Drops values until so many more bytes are within the limit, or nothing is left. */
  makeRoom(bytes: number): void {
    for (const kind of KINDS)
      for (const key of [...this.values.get(kind)!.keys()]) {
        if (this.held + bytes <= this.limit) return;
        this.drop(kind, key);
      }
  }

  private drop(kind: Kind, key: string): void {
    const values = this.values.get(kind)!;
    this.held -= values.get(key)?.bytes ?? 0;
    values.delete(key);
  }
}
