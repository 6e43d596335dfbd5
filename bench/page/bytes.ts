/** A number of bytes in words: `2.4 MB`. */
export const bytes = (size: number): string => {
  const steps = ["bytes", "kB", "MB", "GB", "TB"];
  let at = 0;
  let value = size;
  while (value >= 1000 && at < steps.length - 1) {
    value /= 1000;
    at++;
  }
  return `${at ? Number(value.toPrecision(3)) : value} ${steps[at]}`;
};
