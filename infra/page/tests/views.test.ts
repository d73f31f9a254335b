// The pure parts of Kanban, a position's journey and History.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Card, Lane } from "../src/api/types.ts";
import { classes, width } from "../src/views/history/distribution.ts";
import { asked, filterOf, sentence } from "../src/views/history/filter.ts";
import { dayStep, daysLater, strength, weeksOf } from "../src/views/history/month.ts";
import { comparedOf, factText } from "../src/views/journey/why.ts";
import { body, tagsOf, wrong } from "../src/views/journey/words.ts";
import { filtered, step } from "../src/views/lanes/board.ts";

test("weeks begin on Monday and hold every day of their month once", () => {
  for (const month of ["2026-02", "2026-03", "2024-02", "2025-12"]) {
    const days = weeksOf(month).flat();
    assert.equal(days.length % 7, 0);
    assert.deepEqual(days, days.map((_, number) => daysLater(days[0] ?? "", number)), "no day is lost where clocks change");
    assert.equal(new Set(days.filter((day) => day.startsWith(month))).size, new Date(Date.UTC(Number(month.slice(0, 4)), Number(month.slice(5)), 0)).getUTCDate());
  }
  assert.deepEqual(weeksOf("2026-02")[0]?.[0], "2026-01-26");
});

test("keys walk through days, weeks and months", () => {
  const cases: [string, string | null][] = [["ArrowLeft", "2026-03-30"], ["ArrowRight", "2026-04-01"], ["ArrowUp", "2026-03-24"], ["ArrowDown", "2026-04-07"], ["Home", "2026-03-30"], ["End", "2026-04-03"], ["PageUp", "2026-02-28"], ["PageDown", "2026-04-30"], ["x", null]];
  for (const [key, wanted] of cases) assert.equal(dayStep("2026-03-31", key), wanted, key);
});

test("a day is as strong as its share of the largest, and never nothing when it was something", () => {
  assert.deepEqual(["0", "0.01", "25", "-50", "-100", null].map((amount) => strength(amount, 100)), [0, 1, 1, 2, 4, 0]);
});

test("a filter of the address is asked for with a half-open range, and what makes no sense is left out", () => {
  const filter = filterOf({ ticker: " amzn ", outcome: "win", from: "2026-02-28", to: "2026-02-28", min_pnl: "1e5", tab: "days", max_pnl: "-2.50" });
  assert.deepEqual(filter, { ticker: "AMZN", outcome: "win", from: "2026-02-28", to: "2026-02-28", max_pnl: "-2.50" });
  assert.deepEqual(asked(filter), { ticker: "AMZN", outcome: "win", max_pnl: "-2.50", since: "2026-02-28", until: "2026-03-01" });
  assert.equal(sentence(filter), "AMZN trades, that ended as win, active on 2026-02-28");
  assert.equal(sentence({}), "All trades");
});

test("classes are of round width, never straddle zero, and count every result that is not flat", () => {
  assert.equal(width(-130, 50), 20);
  const found = classes(["-131.73", "0", "0.00", "5", "49.99", "-0.5"]);
  assert.equal(found.reduce((sum, { count }) => sum + count, 0), 4);
  assert.ok(found.every(({ from, to }) => to <= 0 || from >= 0));
  assert.deepEqual(classes(["0"]), []);
});

test("arrow keys pass over empty lanes and stay within the board", () => {
  const sizes = [2, 0, 3, 0];
  assert.deepEqual(step(sizes, { lane: 0, card: 1 }, "ArrowRight"), { lane: 2, card: 1 });
  assert.deepEqual(step(sizes, { lane: 2, card: 2 }, "ArrowLeft"), { lane: 0, card: 1 });
  for (const key of ["ArrowRight", "End", "ArrowDown"]) assert.equal(step(sizes, { lane: 2, card: 2 }, key), null, key);
});

test("a filter leaves every lane and its count", () => {
  const lane = { key: "hold", title: "Hold", stages: [], holds: "open", position: true, count: 2, cards: [{ ticker: "AMZN" }, { ticker: "AMD" }] as Card[] } satisfies Lane;
  const [found] = filtered([lane], " amz");
  assert.deepEqual([found?.count, found?.cards.map(({ ticker }) => ticker)], [2, ["AMZN"]]);
});

test("tags are trimmed and said once; too much is refused in words; nothing clears", () => {
  assert.deepEqual(tagsOf("late  entry, breakout,,late entry "), ["late entry", "breakout"]);
  assert.equal(wrong("x".repeat(10_000), ["a"]), null);
  assert.ok(wrong("x".repeat(10_001), [])?.includes("10,001"));
  assert.ok(wrong("", Array.from({ length: 21 }, (_, number) => `t${number}`))?.includes("21"));
  assert.ok(wrong("", ["y".repeat(41)])?.includes("40"));
  assert.deepEqual(body("  ", []), { notes: null, tags: [] });
});

test("facts of the why-trace become texts, the unknown stays unknown", () => {
  assert.equal(factText(["a", null, 3, { rr: null, score: "65.7" }]), "a, 3, rr , score 65.7");
  assert.deepEqual(comparedOf([["G12", null, ">=", "1.2", false], "no row"]), [{ rule: "G12", value: "unknown", op: ">=", limit: "1.2", holds: false }]);
});
