/// <reference lib="esnext.disposable" preserve="true" />
/**
 * The name of the method that `using` calls: Symbol.dispose, or what builds put in its place where a browser does not
 * know it yet (Safari 26, Chrome before 134). Classes take it from here, so that they can be loaded there.
 */
export const dispose: typeof Symbol.dispose = Symbol.dispose ?? Symbol.for("Symbol.dispose");
