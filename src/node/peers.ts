import { UnsupportedError } from "../io/index.js";

/**
 * Loads a package that few need, and that is therefore not installed with tenfold.
 *
 * @param what the kind of file, for the message
 * @throws UnsupportedError where it is not installed, with the command that installs it
 */
export async function peer<T>(name: string, file: string, what: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const problem = code === "ERR_MODULE_NOT_FOUND" ? `npm install ${name}` : `${name} does not load here (${message})`;
    throw new UnsupportedError(file, `${what} are read by the package ${name}: ${problem}`, { cause: error });
  }
}
