/** Name of the file with the digits, which lies beside the page. */
export const DIGITS_FILE = "digits.bin";
