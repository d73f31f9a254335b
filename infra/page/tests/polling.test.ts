// How long a reader waits, and that an answer shares with the one before whatever did not change.
import assert from "node:assert/strict";
import { test } from "node:test";
import { shared } from "../src/lib/sharing.ts";
import { waitMs } from "../src/lib/waiting.ts";

test("the usual wait is spread by a tenth, failures double it, and two minutes are the most", () => {
  assert.deepEqual([0, 0.5, 1].map((chance) => Math.round(waitMs(10, 0, null, chance))), [9000, 10_000, 11_000]);
  assert.deepEqual([1, 2, 3, 4, 9].map((failures) => waitMs(10, failures, null, 0.5)), [20_000, 40_000, 80_000, 120_000, 120_000]);
});

test("nothing is asked before the desk said so", () => {
  assert.equal(waitMs(10, 1, 300, 0.5), 300_000);
  assert.equal(waitMs(10, 1, 3, 0.5), 20_000);
});

test("an equal answer is the same object, and a change reaches only its own row", () => {
  const before = { count: 2, trades: [{ position_id: "a", price: "1", lots: [{ lot_id: "x" }] }, { position_id: "b", price: "2" }] };
  assert.equal(shared(before, structuredClone(before)), before);
  const after = shared(before, { count: 3, trades: [{ position_id: "c", price: "9" }, { position_id: "b", price: "2" }, { position_id: "a", price: "7", lots: [{ lot_id: "x" }] }] });
  assert.equal(after.trades[1], before.trades[1], "the row moved and did not change");
  assert.notEqual(after.trades[2], before.trades[0]);
  assert.equal(after.trades[2]?.lots, before.trades[0]?.lots);
  assert.deepEqual(after.trades.map(({ price }) => price), ["9", "2", "7"]);
});

test("rows are found again wherever they stand, also among rows that are new or gone", () => {
  const before = [{ ticker: "A", tags: ["x"] }, { ticker: "B", tags: [] }, { ticker: "C", tags: ["y"] }];
  const after = shared(before, [{ ticker: "C", tags: ["y"] }, { ticker: "N", tags: [] }, { ticker: "A", tags: ["x", "z"] }]);
  assert.equal(after[0], before[2]);
  assert.deepEqual(after.slice(1), [{ ticker: "N", tags: [] }, { ticker: "A", tags: ["x", "z"] }]);
  assert.deepEqual(before[0], { ticker: "A", tags: ["x"] }, "what was shown stays as it was");
});

test("a field that went is gone and a shorter list is short", () => {
  assert.deepEqual(shared<object>({ a: 1, b: 2 }, { a: 1 }), { a: 1 });
  assert.deepEqual(shared([1, 2, 3], [1, 2]), [1, 2]);
});
