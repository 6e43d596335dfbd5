/** What is kept of values within some bytes. */
import { expect, it } from "vitest";
import { Recent } from "../../../src/compress/onnx/recent.js";

it("drops kinds in their order, of a kind what was used longest ago, and nothing before it has to", () => {
  const recent = new Recent(100);
  recent.put("moments", "a", 1, 30);
  recent.put("layer", "a", 2, 20);
  recent.put("layer", "b", 3, 20);
  recent.put("factors", "a", 4, 30);
  expect([recent.get("layer", "a"), recent.get("moments", "a"), recent.get("factors", "a")]).toEqual([2, 1, 4]);
  // b was used longest ago
  recent.put("factors", "b", 5, 10);
  expect([recent.get("layer", "b"), recent.get("layer", "a")]).toEqual([undefined, 2]);
  recent.makeRoom(50);
  expect([recent.get("layer", "a"), recent.get("moments", "a"), recent.get("factors", "a")]).toEqual([
    undefined,
    undefined,
    4,
  ]);
  // the same key again counts once, and what is larger than everything is kept alone
  recent.put("factors", "a", 6, 90);
  expect([recent.get("factors", "b"), recent.get("factors", "a")]).toEqual([5, 6]);
  recent.put("moments", "c", 7, 1000);
  expect([recent.get("factors", "a"), recent.get("moments", "c")]).toEqual([undefined, 7]);
});
