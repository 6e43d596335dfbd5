import { describe, expect, it } from "vitest";
import { hashOf, placeOf } from "../../../bench/page/place.js";
import { nearestInteger, parseDigits, parseInteger, toggleDigit } from "../../../bench/page/settings.js";
import fc from "../../property.js";

describe("settings in the URL", () => {
  it.each([
    ["347", [3, 4, 7]],
    ["743", [3, 4, 7]],
    ["3344", [3, 4]],
    ["0123456789", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
    ["3", null],
    ["3x", null],
    ["", null],
    [null, null],
  ])("digits %j are %j", (text, digits) => {
    expect(parseDigits(text)).toEqual(digits);
  });

  it.each([
    ["3", 3],
    ["1", 1],
    ["50", 50],
    ["0", 7],
    ["51", 7],
    ["-4", 7],
    ["2.5", 7],
    ["1e9", 7],
    ["x", 7],
    ["", 7],
    [null, 7],
  ])("%j of 1 to 50 is %i, with 7 for nonsense", (text, value) => {
    expect(parseInteger(text, 1, 50, 7)).toBe(value);
  });

  it("an empty number is none, also where 0 is one", () => {
    expect(parseInteger("", 0, 50, 7)).toBe(7);
    expect(parseInteger("0", 0, 50, 7)).toBe(0);
  });
});

describe("what the user types and presses", () => {
  it("a number is brought into bounds; what is none changes nothing", () => {
    const bounds = { min: 0, max: 50 };
    const typed = (text: string): number => nearestInteger(text, bounds, 3);
    expect(["7", "7.6", "-2", "1e9", "0", "", " ", "x"].map(typed)).toEqual([7, 8, 0, 50, 0, 3, 3, 3]);
  });

  it("a digit is added in order, taken away, and kept where one would be left", () => {
    expect(toggleDigit([3, 7], 4)).toEqual([3, 4, 7]);
    expect(toggleDigit([3, 4, 7], 4)).toEqual([3, 7]);
    expect(toggleDigit([3, 7], 7)).toEqual([3, 7]);
  });
});

describe("the place in the URL", () => {
  const parts = ["decompose", "train"];

  it.each([
    ["#train?rank=3", "train", "rank=3"],
    ["#train", "train", ""],
    ["#nothing?x=1", "decompose", "x=1"],
    ["", "decompose", ""],
    ["#", "decompose", ""],
    ["#train?a=1?b=2", "train", "a=1"],
  ])("%j is %s with %j", (hash, id, query) => {
    const place = placeOf(hash, parts);
    expect([place.id, String(place.query)]).toEqual([id, query]);
  });

  it("comes back as it was written", () => {
    expect(hashOf("train", {})).toBe("#train");
    fc.assert(
      fc.property(fc.dictionary(fc.string({ minLength: 1 }), fc.string()), (query) => {
        const place = placeOf(hashOf("train", query), parts);
        expect(place.id).toBe("train");
        expect(Object.fromEntries(place.query)).toEqual({ ...query });
      }),
    );
  });
});
