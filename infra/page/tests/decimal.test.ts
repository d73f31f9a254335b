// Decimal texts are added, rounded and shown without ever being a floating point number.
import assert from "node:assert/strict";
import { test } from "node:test";
import { add, bounds, compare, compareNullable, formatted, money, percent, rounded, sign, spoken, subtract, total } from "../src/lib/decimal.ts";

test("sums are exact where floating point is not", () => {
  assert.equal(add("0.1", "0.2"), "0.3");
  assert.equal(add("9007199254740993", "0.000000000000000001"), "9007199254740993.000000000000000001");
  assert.equal(subtract("1.10", "1.1"), "0.00");
  assert.equal(subtract("-0.5", "99.5"), "-100.0");
  assert.equal(total(["1.5", null, "-2.25"]), "-0.75");
  assert.equal(total(["0.10", "2", null, "-0.125"]), "1.975");
  assert.equal(total([null]), null);
});

test("halves go to the even digit, away from nothing", () => {
  const cases: [string, number, string][] = [["2.345", 2, "2.34"], ["2.355", 2, "2.36"], ["-2.345", 2, "-2.34"], ["-2.3451", 2, "-2.35"], ["0.005", 2, "0.00"], ["-0.004", 2, "0.00"], ["999.995", 2, "1000.00"], ["7", 2, "7.00"]];
  for (const [text, decimals, wanted] of cases) assert.equal(rounded(text, decimals), wanted, text);
});

test("what is shown is grouped, has a true minus and no minus before nothing", () => {
  assert.equal(formatted("1234567.891"), "1,234,567.89");
  assert.equal(formatted("-0.001", { least: 2 }), "0.00");
  assert.equal(formatted("5", { signed: true }), "+5");
  assert.equal(formatted("106.6666666667", { least: 2, most: 4 }), "106.6667");
  assert.equal(formatted("10.50", { most: 4 }), "10.5");
  assert.equal(formatted("0.00", { signed: true, least: 2 }), "0.00");
});

test("money carries its currency, in signs, codes and words", () => {
  assert.equal(money("-4.35", "USD"), "−$4.35");
  assert.equal(money("123.5", "USD", { signed: true }), "+$123.50");
  assert.equal(money("1000", "CHF"), "1,000.00 CHF");
  assert.equal(spoken("-1234.5", "USD"), "minus 1234.50 dollars");
  assert.equal(percent("1.2", { signed: true }), "+1.20 %");
});

test("numbers are compared by value and the unknown stands last both ways", () => {
  assert.equal(compare("10", "9.99"), 1);
  assert.equal(compare("1.0", "1.00"), 0);
  assert.equal(sign("-0.00"), 0);
  for (const direction of [1, -1] as const) {
    const sorted = ["2", null, "-3", "10"].sort((a, b) => compareNullable(a, b, direction));
    assert.deepEqual(sorted, direction === 1 ? ["-3", "2", "10", null] : ["10", "2", "-3", null]);
  }
});

test("the lowest and the highest are told by value, one of one is both", () => {
  assert.deepEqual(bounds(["9.99", "-3", "10", "-3.01"]), ["-3.01", "10"]);
  assert.deepEqual(bounds(["5"]), ["5", "5"]);
});

test("a text that is no decimal is refused, never shown as a number", () => {
  for (const text of ["", "1e5", "NaN", "1.", ".5", "1,000", "0x10", "١"]) assert.throws(() => formatted(text), text);
});
