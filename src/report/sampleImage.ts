/** A sample of a network as a picture, where it is one. */

/** longest side, in pixels: larger images are made smaller by leaving out rows and columns */
const MOST = 96;
/** shortest side of what is taken for an image */
const LEAST = 8;

/** Where the channels of an image lie: 1 for grey, 3 for red, green and blue. */
interface Layout {
  channels: number;
  height: number;
  width: number;
  /** distances in the array from one channel, row and column to the next */
  steps: readonly [channel: number, row: number, column: number];
}

/** A typed array with its shape. */
interface SampleArray {
  shape: readonly number[];
  data: object & { readonly length: number };
}

function layoutOf(shape: readonly number[]): Layout | null {
  // one sample
  const extents = shape[0] === 1 && shape.length > 2 ? shape.slice(1) : shape;
  const planes = extents.length === 2 ? [1, ...extents] : extents;
  if (planes.length !== 3) return null;
  const [first, second, third] = planes as [number, number, number];
  const isColour = (channels: number): boolean => channels === 1 || channels === 3;
  const layout: Layout | null = isColour(first)
    ? { channels: first, height: second, width: third, steps: [second * third, third, 1] }
    : isColour(third)
      ? { channels: third, height: first, width: second, steps: [1, second * third, third] }
      : null;
  return layout && Math.min(layout.height, layout.width) >= LEAST ? layout : null;
}

/**
 * A data URL of an image (BMP), or null where an array of this shape is none: channels×height×width or height×width×channels of one or
 * three channels, with a 1 before it or not. Its least value is black and its largest one white, because nothing says how images were scaled.
 */
export function sampleImage({ shape, data }: SampleArray): string | null {
  const layout = layoutOf(shape);
  if (!layout) return null;
  const { channels, height, width, steps } = layout;
  const numbers = data as ArrayLike<unknown>;
  const stride = Math.max(1, Math.ceil(Math.max(height, width) / MOST));
  const [rows, columns] = [Math.ceil(height / stride), Math.ceil(width / stride)];
  const value = (channel: number, row: number, column: number): number =>
    Number(numbers[channel * steps[0] + row * stride * steps[1] + column * stride * steps[2]]);
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < data.length; i++) {
    low = Math.min(low, Number(numbers[i]));
    high = Math.max(high, Number(numbers[i]));
  }
  const scale = 255 / (high - low || 1);
  // rows of blue, green and red from the last one up, each of a multiple of four bytes
  const line = Math.ceil((3 * columns) / 4) * 4;
  const bytes = new Uint8Array(HEADER + line * rows);
  const view = new DataView(bytes.buffer);
  const header: readonly (readonly [at: number, value: number])[] = [
    ...([
      [2, bytes.length],
      [10, HEADER],
      [14, 40],
      [18, columns],
      [22, rows],
    ] as const),
    ...([
      [26, 1 + (24 << 16)],
      [34, line * rows],
    ] as const),
  ];
  bytes.set([0x42, 0x4d]);
  for (const [at, number] of header) view.setUint32(at, number, true);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      for (let colour = 0; colour < 3; colour++)
        bytes[HEADER + (rows - 1 - row) * line + 3 * column + colour] = Math.round(
          scale * (value(channels === 3 ? 2 - colour : 0, row, column) - low),
        );
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return `data:image/bmp;base64,${btoa(text)}`;
}

/** bytes before the pixels */
const HEADER = 54;
