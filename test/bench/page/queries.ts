import fc from "../../property.js";

/** URLs with these names, some of these values, and nonsense. */
export const anyQuery = (names: readonly string[], values: readonly string[]): fc.Arbitrary<URLSearchParams> =>
  fc
    .dictionary(
      fc.constantFrom(...names),
      fc.oneof(
        fc.constantFrom(...values),
        fc.string(),
        fc.integer().map(String),
        fc.double().map(String),
        fc.constantFrom("", "-1", "1e9", "NaN", "Infinity", "0x10", "."),
      ),
    )
    .map((query) => new URLSearchParams(query));
