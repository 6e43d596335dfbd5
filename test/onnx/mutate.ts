/** Files with damage that a seed draws. */

/** mulberry32 */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A file that is cut off, has some bytes changed, or has a length replaced by another. */
export function mutate(bytes: Uint8Array, next: () => number): Uint8Array {
  const below = (count: number): number => Math.floor(next() * count);
  const kind = below(4);
  if (kind === 0) return bytes.slice(0, below(bytes.length));
  const out = bytes.slice();
  // weights are most of a file: the graph's messages are changed more often than those
  for (let count = 1 + below(kind === 1 ? 1 : 6); count > 0; count--) {
    const at = below(2) ? below(out.length) : below(Math.min(out.length, 400));
    if (kind === 3) out.fill(0xff, at, at + 1 + below(9));
    else out[at] = below(256);
  }
  if (kind !== 2 || out.length < 30) return out;
  // bytes taken out or put in, so that no length fits any more
  const at = below(out.length - 20);
  return below(2)
    ? Uint8Array.from([...out.subarray(0, at), ...out.subarray(at + 1 + below(9))])
    : Uint8Array.from([...out.subarray(0, at), ...out.subarray(at, at + below(9)), ...out.subarray(at)]);
}
