// Exchange time on both sides of a clock change, ages, days, and the field that asks for a moment.
import assert from "node:assert/strict";
import { test } from "node:test";
import { age, clock, dayOf, dayWords, exchangeInstant, localInput, zoneName } from "../src/lib/time.ts";

const at = (iso: string): number => Date.parse(iso);

test("the zone's name follows the clocks of the exchange", () => {
  assert.equal(clock(at("2026-03-06T20:59:00Z")), "15:59:00 EST");
  assert.equal(clock(at("2026-03-09T19:59:00Z")), "15:59:00 EDT");
  assert.equal(zoneName(at("2026-03-08T06:59:59Z")), "EST");
  assert.equal(zoneName(at("2026-03-08T07:00:00Z")), "EDT");
  assert.equal(clock(at("2026-11-01T05:30:00Z"), { seconds: false }), "01:30 EDT");
  assert.equal(clock(at("2026-11-01T06:30:00Z"), { seconds: false }), "01:30 EST");
});

test("midnight is hour zero of the new day", () => {
  assert.equal(clock(at("2026-02-03T05:00:00Z"), { date: true }), "2026-02-03 00:00:00 EST");
  assert.equal(dayOf(at("2026-02-03T04:59:59Z")), "2026-02-02");
  assert.equal(dayWords("2026-02-03"), "Tue, Feb 3, 2026");
});

test("ages are told in the unit that says enough, and the future is no age", () => {
  const now = at("2026-02-03T15:00:00Z");
  const cases: [number, string][] = [[0, "0 s ago"], [89_999, "89 s ago"], [90_000, "1 min ago"], [5_399_000, "89 min ago"], [5_400_000, "1 h ago"], [2 * 86_400_000, "2 d ago"], [-5000, "0 s ago"]];
  for (const [ms, wanted] of cases) assert.equal(age(now - ms, now), wanted);
});

test("a moment chosen in exchange time comes back as the same text, on both sides of a change", () => {
  for (const text of ["2026-02-03T14:05", "2026-07-01T09:30", "2026-03-08T03:00", "2026-03-08T01:59", "2026-11-01T02:00"]) {
    const ts = exchangeInstant(text);
    assert.ok(ts);
    assert.equal(localInput(ts), text);
  }
  assert.equal(exchangeInstant("2026-11-01T01:30"), at("2026-11-01T05:30:00Z"), "of a repeated hour the first");
  assert.equal(exchangeInstant("2026-03-08T02:30"), at("2026-03-08T07:30:00Z"), "a time that no clock shows is the one after it");
  assert.equal(exchangeInstant(""), null);
});
