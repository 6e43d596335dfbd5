/** Compression before CP: in a file that nothing else imports, so that it loads when it pays. */
export { compressed } from "./tucker.js";
