/** A share as text: `12.3 %`. */
export const percent = (share: number, digits = 1): string => `${(100 * share).toFixed(digits)} %`;

/** Seconds since this moment of `performance.now()`. */
export const secondsSince = (moment: number): number => (performance.now() - moment) / 1000;
