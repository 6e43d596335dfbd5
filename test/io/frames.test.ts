import { describe, expect, it } from "vitest";
import { encodeFrame, type FrameArray, FrameReader } from "../../src/io/index.js";

const joined = (pieces: readonly Uint8Array[]): Uint8Array => Uint8Array.from(pieces.flatMap((piece) => [...piece]));

/** Bytes in chunks of so many. */
async function* inChunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size);
}

const arrays: Record<string, FrameArray & { joining?: string }> = {
  three: { shape: [3], data: Float32Array.of(1, -2.5, Number.NaN), joining: "sum" },
  // begins where an f64 may not
  two: { shape: [2, 1], data: Float64Array.of(Math.PI, -0) },
  bytes: { shape: [5], data: Uint8Array.of(1, 2, 3, 4, 255) },
  none: { shape: [0, 4], data: new Float32Array(0) },
};

describe("frames", () => {
  it.each([1, 7, 16, 10_000])("are read as they were written, from chunks of %i bytes", async (size) => {
    const bytes = joined([...encodeFrame({ verb: "ask", mode: 2 }, arrays), ...encodeFrame({ verb: "end" })]);
    const reader = new FrameReader(inChunks(bytes, size), "test");
    expect(await reader.next()).toEqual({ header: { verb: "ask", mode: 2 }, arrays });
    expect(await reader.next()).toEqual({ header: { verb: "end" }, arrays: {} });
    expect(await reader.next()).toBeNull();
  });

  it("are read into memory that is handed in", async () => {
    const memory = new Uint8Array(64);
    const frame = await new FrameReader(inChunks(joined(encodeFrame({}, arrays)), 10), "test").next(() => memory);
    expect(frame!.arrays).toEqual(arrays);
    expect(frame!.arrays.three!.data.buffer).toBe(memory.buffer);
  });

  it("are refused where they are cut short, or something else", async () => {
    const bytes = joined(encodeFrame({ verb: "ask" }, arrays));
    for (const length of [3, 16, 40, bytes.length - 1]) {
      const reader = new FrameReader(inChunks(bytes.slice(0, length), 8), "the pipe");
      await expect(reader.next()).rejects.toThrow("the pipe: ended within a frame");
    }
    const text = new TextEncoder().encode("Warning: something was printed here");
    await expect(new FrameReader(inChunks(text, 64), "the pipe").next()).rejects.toThrow(
      "the pipe: holds something else than frames of this version of tenfold",
    );
  });
});
