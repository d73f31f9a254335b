// Covered days as a calendar: weeks begin on Monday, months come newest first, and no day is lost or moved.
import assert from "node:assert/strict";
import { test } from "node:test";
import { counted, later, months } from "../src/views/accounts/months.ts";
import type { CoveredDay } from "../src/views/accounts/types.ts";

function days(from: string, count: number, state: CoveredDay["state"] = "proven"): CoveredDay[] {
  return Array.from({ length: count }, (_, number) => ({ account_id: "1", day: later(from, number), state, run_id: null }));
}

test("a month that begins within a week has holes before its first day and none after its last", () => {
  const [month] = months(days("2026-01-01", 31));
  assert.equal(month?.name, "January 2026");
  assert.deepEqual(month?.weeks[0]?.map((one) => one?.day.slice(8) ?? null), [null, null, null, "01", "02", "03", "04"]);
  assert.deepEqual(month?.weeks.at(-1)?.map((one) => one?.day.slice(8) ?? null), ["26", "27", "28", "29", "30", "31", null]);
});

test("months come newest first, over clock changes, leap days and the turn of the year, and hold every day once", () => {
  for (const [from, count] of [["2026-02-20", 30], ["2026-10-20", 40], ["2024-02-01", 60], ["2025-12-01", 62]] as const) {
    const asked = days(from, count);
    const found = months(asked);
    const held = [...found].reverse().flatMap(({ weeks }) => weeks.flat().filter((one) => one !== null));
    assert.deepEqual(held, asked);
    assert.ok(found.every(({ weeks }) => weeks.every((week) => week.length === 7)));
  }
});

test("states are counted in the order asked for, and those without a day are left out", () => {
  const asked = [...days("2026-02-02", 2), ...days("2026-02-04", 1, "gap")];
  assert.deepEqual(counted(asked, ["proven", "provisional", "gap"]), [["proven", 2], ["gap", 1]]);
});
