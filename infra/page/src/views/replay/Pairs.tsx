// What both sides of a comparison did: totals beside each other, and the trades that are not the same.
import type { JSX } from "preact";
import { HIDDEN, usePrivacy } from "../../lib/privacy.ts";
import { column, heading, numeric } from "../../parts/columns.ts";
import { Money } from "../../parts/Money.tsx";
import { Pill, type Tone } from "../../parts/Pill.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import { When } from "../../parts/When.tsx";
import type { Comparison, TradePair } from "./types.ts";

const COUNTS = [["decided", "Decided"], ["entries", "Entries"], ["adds", "Adds"], ["trims", "Trims"], ["exits", "Exits"]] as const;
const STATUS: Readonly<Record<TradePair["status"], { word: string; tone: Tone }>> = {
  equal: { word: "equal", tone: "gain" },
  different: { word: "different", tone: "warning" },
  left_only: { word: "only in A", tone: "loss" },
  right_only: { word: "only in B", tone: "loss" },
};

export function TotalsTable({ of }: { of: Comparison }): JSX.Element {
  const currency = of.trades[0]?.currency ?? null;
  const { left: { totals: a }, right: { totals: b }, difference } = of;
  return (
    <table class="plain totals">
      <caption>Totals</caption>
      <thead><tr><th scope="col">What</th><th scope="col" class="numeric">A</th><th scope="col" class="numeric">B</th><th scope="col" class="numeric">B less A</th></tr></thead>
      <tbody>
        {COUNTS.map(([name, words]) => (
          <tr key={name} class={a[name] === b[name] ? "" : "differs"}>
            <th scope="row">{words}</th><td class="numeric num">{a[name]}</td><td class="numeric num">{b[name]}</td><td class="numeric num">{difference[name]}</td>
          </tr>
        ))}
        <tr class={a.realized_pnl === b.realized_pnl ? "" : "differs"}>
          <th scope="row">Realized P&L</th>
          <td class="numeric"><Money value={a.realized_pnl} currency={currency} pnl /></td>
          <td class="numeric"><Money value={b.realized_pnl} currency={currency} pnl /></td>
          <td class="numeric"><Money value={difference.realized_pnl} currency={currency} pnl /></td>
        </tr>
      </tbody>
    </table>
  );
}

const COLUMNS: readonly Column<TradePair>[] = [
  heading("Trade", (one) => <span>{one.ticker} <Pill>{one.direction}</Pill></span>),
  column("Outcome", (one) => <Pill tone={STATUS[one.status].tone}>{STATUS[one.status].word}</Pill>),
  column("Entered", (one) => <When ts={one.left?.entry_ts ?? one.right?.entry_ts} date />),
  numeric("Actions A", (one) => one.left?.action_count ?? "—"),
  numeric("Actions B", (one) => one.right?.action_count ?? "—"),
  numeric("Realized A", (one) => <Money value={one.left?.realized_pnl} currency={one.currency} pnl missing="not on this side" />),
  numeric("Realized B", (one) => <Money value={one.right?.realized_pnl} currency={one.currency} pnl missing="not on this side" />),
  column("First difference", (one) => <Difference of={one} />),
];

function Difference({ of }: { of: TradePair }): JSX.Element {
  const isHidden = usePrivacy();
  const found = of.first_difference;
  if (found === null) return <span class="unknown">—</span>;
  const isOpen = found.field === "action" || found.field === "action_type";
  const sides = isHidden && !isOpen ? HIDDEN : `${found.left ?? "nothing"} → ${found.right ?? "nothing"}`;
  return <span class="words">{found.field.replaceAll("_", " ")} at <When ts={found.ts} />: {sides}</span>;
}

export function TradePairs({ of }: { of: Comparison }): JSX.Element {
  const { positions, trades, has_more } = of;
  const differing = trades.filter(({ status }) => status !== "equal");
  const counts = `${positions.equal} equal, ${positions.different} different, ${positions.left_only} only in A, ${positions.right_only} only in B`;
  return (
    <section class="stack" aria-labelledby="pairs-title">
      <h3 id="pairs-title">Trades <span class="hint">{counts}</span></h3>
      {differing.length === 0 ? <p class="hint">Every trade is on both sides, action by action.</p> : <Table caption="Trades that differ" columns={COLUMNS} rows={differing} rowKey={(one) => `${one.left?.position_id ?? ""} ${one.right?.position_id ?? ""}`} />}
      {has_more && <p class="hint">More trades were compared than are listed; those that differ come first.</p>}
    </section>
  );
}
