/** Images as samples: the values of pixels by hand, and inputs that no image fits. */
import { describe, expect, it } from "vitest";
import { isImageName, parseChannels } from "../../../src/compress/onnx/images.js";
import { type ImageOptions, imageInput } from "../../../src/compress/onnx/index.js";
import type { OnnxModel } from "../../../src/onnx/index.js";
import { toHalf } from "../../../src/onnx/tensors.js";

const modelOf = (
  shape: readonly (number | string | null)[] | null,
  dtype = "float32",
  more: string[] = [],
): OnnxModel => ({ inputs: ["x", ...more].map((name) => ({ name, dtype, shape })) }) as unknown as OnnxModel;
/** two pixels beside each other: 51, 102, 255 and 0, 204, 153; alpha is not 255 */
const PIXELS = Uint8Array.of(51, 102, 255, 255, 0, 204, 153, 7);
const valuesOf = (model: OnnxModel, options?: ImageOptions, pixels: Uint8Array | Uint8ClampedArray = PIXELS) => {
  const { x } = imageInput(model, options).feeds(pixels);
  return { shape: x!.shape, dtype: x!.dtype, data: [...(x!.data as Float32Array)] };
};
const float = (values: readonly number[]): number[] => values.map(Math.fround);

describe("imageInput", () => {
  it("lays channels in planes or pixel by pixel, as the input has them", () => {
    expect(valuesOf(modelOf(["batch", 3, 1, 2]))).toEqual({
      shape: [1, 3, 1, 2],
      dtype: "float32",
      data: float([0.2, 0, 0.4, 0.8, 1, 0.6]),
    });
    expect(valuesOf(modelOf([null, 2, 1, 3]), {}, Uint8ClampedArray.from(PIXELS))).toEqual({
      shape: [1, 2, 1, 3],
      dtype: "float32",
      data: float([0.2, 0.4, 1, 0, 0.8, 0.6]),
    });
    expect(imageInput(modelOf([1, 3, 20, 30]))).toMatchObject({ name: "x", height: 20, width: 30 });
    expect(imageInput(modelOf([1, 20, 30, 3]))).toMatchObject({ height: 20, width: 30 });
  });

  it("takes mean and std of values from 0 to 1, in the model's order of channels", () => {
    const model = modelOf([1, 3, 1, 2]);
    expect(valuesOf(model, { mean: 0.5, std: 0.5 }).data).toEqual(float([-0.6, -1, -0.2, 0.6, 1, 0.2]));
    const options = { mean: [0.2, 0.4, 0.6], std: [0.5, 0.25, 0.1] };
    expect(valuesOf(model, options).data.map((one) => Math.round(1e5 * one) / 1e5)).toEqual([0, -0.4, 0, 1.6, 4, 0]);
    expect(valuesOf(model, { ...options, bgr: true }).data.map((one) => Math.round(1e5 * one) / 1e5)).toEqual([
      1.6, 0.8, 0, 1.6, -4, -6,
    ]);
    expect(valuesOf(model, { std: 1 / 255 }).data).toEqual([51, 0, 102, 204, 255, 153]);
  });

  it("makes colours grey, and leaves grey as it is", () => {
    // 0.299·51 + 0.587·102 + 0.114·255 = 104.2; 0.587·204 + 0.114·153 = 137.2
    expect(valuesOf(modelOf([1, 1, 1, 2]), { std: 1 / 255 }).data).toEqual([104, 137]);
    const all = Uint8Array.from({ length: 1024 }, (_, at) => (at % 4 === 3 ? 255 : at >> 2));
    const { data } = valuesOf(modelOf([1, 1, 16, 16]), { bgr: true }, all);
    expect(data).toEqual(Array.from({ length: 256 }, (_, byte) => Math.fround(byte / 255)));
  });

  it("gives uint8 as it is and float16 as bits", () => {
    expect(valuesOf(modelOf([1, 3, 1, 2], "uint8"))).toMatchObject({
      dtype: "uint8",
      data: [51, 0, 102, 204, 255, 153],
    });
    expect(valuesOf(modelOf([1, 3, 1, 2], "float16")).data).toEqual([0.2, 0, 0.4, 0.8, 1, 0.6].map(toHalf));
  });

  it("takes extents that the model leaves open", () => {
    const shape = [1, 3, 1, 2];
    expect(valuesOf(modelOf(["n", 3, "h", "w"]), { shape }).shape).toEqual(shape);
    expect(valuesOf(modelOf(null), { shape }).shape).toEqual(shape);
    expect(valuesOf(modelOf([null, null, null, null]), { shape: [1, 2, 1, 3] }).shape).toEqual([1, 2, 1, 3]);
  });

  it.each<[string, OnnxModel, ImageOptions, string]>([
    ["several inputs", modelOf([1, 3, 8, 8], "float32", ["mask"]), {}, "the model has 2 inputs, and images are one"],
    [
      "indices",
      modelOf([1, 3, 8, 8], "int64"),
      {},
      "x is int64 1×3×8×8, and images are batch×channels×height×width of float32",
    ],
    ["an open size", modelOf([null, 3, null, null]), {}, "x is float32 ?×3×?×?: say its shape, as in x=1x3x224x224"],
    ["all open", modelOf(null), {}, "x is float32 ?×?×?×?: say its shape, as in x=1x3x224x224"],
    ["four channels", modelOf([1, 4, 8, 8]), {}, "x is float32 1×4×8×8, and images have 1 or 3 channels"],
    ["two channels", modelOf([1, 2, 8, 8]), {}, "x is float32 1×2×8×8, and images have 1 or 3 channels"],
    ["a vector", modelOf([1, 3]), {}, "x is float32 1×3, and images are batch×channels×height×width"],
    [
      "a batch",
      modelOf([8, 3, 8, 8]),
      {},
      "x is float32 8×3×8×8, and images have 1 or 3 channels and come one at a time",
    ],
    ["another shape", modelOf([1, 3, 8, 8]), { shape: [1, 3, 9, 9] }, "x is float32 1×3×8×8, not 1×3×9×9"],
    [
      "numbers for grey",
      modelOf([1, 1, 8, 8]),
      { std: [1, 1, 1] },
      "x is float32 1×1×8×8, so mean and std are one number",
    ],
    ["a mean of bytes", modelOf([1, 3, 8, 8], "uint8"), { mean: 0 }, "it takes bytes without mean and std"],
    ["a std of bytes", modelOf([1, 3, 8, 8], "uint8"), { std: 2 }, "it takes bytes without mean and std"],
    ["a std of 0", modelOf([1, 3, 8, 8]), { std: [1, 0, 1] }, "std is [1, 0, 1], needs a number above 0, or three"],
    ["two means", modelOf([1, 3, 8, 8]), { mean: [1, 0] }, "mean is [1, 0], needs a number, or three"],
    ["what it does not know", modelOf([1, 3, 8, 8]), { scale: 2 } as ImageOptions, 'unknown option "scale"'],
  ])("refuses %s", (_, model, options, words) => {
    expect(() => imageInput(model, options)).toThrow(words);
    expect(() => imageInput(model, options)).toThrow(/^imageInput: /);
  });

  it("refuses pixels of another size", () => {
    expect(() => imageInput(modelOf([1, 3, 8, 8])).feeds(PIXELS)).toThrow("imageInput: 8 bytes, needs 8×8 pixels of 4");
  });
});

describe("what users write", () => {
  it("is numbers and fractions", () => {
    expect(parseChannels("0.485, .456,0.406")).toEqual([0.485, 0.456, 0.406]);
    expect(parseChannels("1/255")).toEqual([1 / 255]);
    expect(parseChannels("-1e-2")).toEqual([-0.01]);
    expect(parseChannels("103.939/255,116.779/255,123.68/255")![2]).toBe(123.68 / 255);
    for (const wrong of ["", "1,2", "a", "1/0", "1;2;3", "1,2,3,4", "1/", "--1"])
      expect(parseChannels(wrong)).toBeNull();
  });

  it("tells images by their names", () => {
    expect(["a.JPG", "b/c.jpeg", "d.png", "e.webp", "f.avif", "g.gif"].every(isImageName)).toBe(true);
    expect(["jpg", "a.npz", "png.txt", "a.tiff"].some(isImageName)).toBe(false);
  });
});
