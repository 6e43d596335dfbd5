/** Beside the page. */
export const DIGITS_FILE = "digits.bin";
