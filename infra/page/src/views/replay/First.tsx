// Where two runs part: the first divergence with its cause, the field, and the rule on either side.
import type { JSX } from "preact";
import { HIDDEN, usePrivacy } from "../../lib/privacy.ts";
import { When } from "../../parts/When.tsx";
import type { Divergence } from "./types.ts";

const CAUSES: Readonly<Record<Divergence["cause"], string>> = {
  input: "A receipt is on one side only, or is another one.",
  start: "The states differ before the ticker's first receipt.",
  config: "The profiles differ.",
  facts: "The accounts differ: a slot or a quantity was taken elsewhere.",
  code: "Same values and limits, other outcome: the code differs.",
};

const OPEN = new Set(["receipt", "computed_lane", "lane", "reason", "blocks"]); // fields that are no amount

export function First({ of }: { of: Divergence }): JSX.Element {
  const isHidden = usePrivacy();
  const field = of.field.replaceAll("_", " ");
  const value = (one: unknown): string => (isHidden && !OPEN.has(of.field) ? HIDDEN : shown(one));
  return (
    <section class="panel divergence" aria-labelledby="divergence-title">
      <h3 id="divergence-title">First divergence: {of.ticker}, bucket <When ts={of.bucket_ts} date seconds={false} /></h3>
      <p>
        {CAUSES[of.cause]} {of.is_outcome ? "The" : "Only a figure differs, no outcome: the"} field <strong>{field}</strong> differs{of.rule !== null && <>, by rule <code class="mono">{of.rule}</code></>}.
      </p>
      <table class="plain">
        <caption class="visually-hidden">Both sides of the first divergence</caption>
        <thead><tr><th scope="col">Side</th><th scope="col">{field}</th><th scope="col">What the rule says</th></tr></thead>
        <tbody>
          <tr><th scope="row">A</th><td>{value(of.left.value)}</td><td>{isHidden ? HIDDEN : (of.left.rule_text ?? "—")}</td></tr>
          <tr><th scope="row">B</th><td>{value(of.right.value)}</td><td>{isHidden ? HIDDEN : (of.right.rule_text ?? "—")}</td></tr>
        </tbody>
      </table>
      {of.cause === "config" && profileKeys(of.detail).length > 0 && (
        <p>Keys of the profiles that differ: {profileKeys(of.detail).map(([key, a, b], place) => <span key={key}>{place > 0 && ", "}<code class="mono">{key}</code> {isHidden ? HIDDEN : `${shown(a)} → ${shown(b)}`}</span>)}</p>
      )}
      <p class="hint">Receipt <span class="mono">{of.receipt_id ?? "none"}</span> of <When ts={of.ts} date />. {of.later_count} later differences of this ticker follow from it.</p>
    </section>
  );
}

// Keys of the two profiles that differ, as the comparison found them.
function profileKeys(detail: unknown): [string, unknown, unknown][] {
  const keys = (detail as { keys?: Record<string, unknown> } | null)?.keys ?? {};
  return Object.entries(keys).flatMap(([key, pair]) => (Array.isArray(pair) ? [[key, pair[0], pair[1]] as [string, unknown, unknown]] : []));
}

// A value of a decision: text as it is, several of them in a row, anything else as it was stored.
export function shown(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return value.length === 0 ? "nothing" : value.map(shown).join(", ");
  return typeof value === "string" ? value : JSON.stringify(value);
}
