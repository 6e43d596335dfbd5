/** Samples as code that a browser runs: which blocks of a page are samples, and what becomes of their imports. */

/** Whether a block of a page can run by itself: it takes something from tenfold, and says what it prints. */
export const isSample = (language: string, code: string): boolean =>
  language === "ts" && /^import .* from "tenfold/m.test(code) && /\/\/ → /.test(code);

/** What a sample says that it prints, a line each. */
export const promisedBy = (code: string): string[] => [...code.matchAll(/\/\/ → (.*)$/gm)].map(([, line]) => line!);

/**
 * A sample as the body of an async function that is called with `load`, which gives the module of a name. `using` becomes `const` where the engine
 * does not know it (`hasUsing`): then memory is freed with the worker.
 */
export function bodyOf(code: string, hasUsing: boolean): string {
  const body = code.replace(
    /^import\s+(type\s+)?([^"']*?)\s+from\s+(["'][^"']+["']);?/gm,
    (_, isType: string | undefined, names: string, from: string) => {
      // lines stay where they are, so that an error names the line that the reader sees
      if (isType) return names.replace(/[^\n]/g, "");
      const bound = names.startsWith("*") ? names.replace(/^\*\s+as\s+/, "") : names.replace(/\s+as\s+/g, ": ");
      return `const ${bound} = await load(${from});`;
    },
  );
  return hasUsing ? body : body.replace(/^(\s*)(?:await\s+)?using\s+(\w+\s*=)/gm, "$1const $2");
}

/** What console.log shows of a value: numbers shortly, long arrays cut off. */
export function shown(value: unknown): string {
  if (typeof value === "string") return value;
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (ArrayBuffer.isView(value) || Array.isArray(value)) {
    const all = Array.from(value as ArrayLike<unknown>);
    const entries = all.slice(0, 60);
    const words = entries.map((entry) =>
      typeof entry === "number" ? String(Number(entry.toPrecision(6))) : shown(entry),
    );
    return `[${words.join(", ")}${all.length > 60 ? `, … ${all.length} in all` : ""}]`;
  }
  if (value === null || typeof value !== "object") return String(value);
  if (Object.getPrototypeOf(value) !== Object.prototype) return value.constructor.name;
  const entries = Object.entries(value).map(([name, entry]) => `${name}: ${shown(entry)}`);
  return `{ ${entries.join(", ")} }`;
}
