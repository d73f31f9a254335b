// Two runs, or a run and the live book, side by side: totals, both curves on one chart, the trades that differ, and where they part.

import { Action, Chart, Empty, Loaded, Pill, Qty, Rows, Signed, Skeleton, When, Age, spaced, usePolled, type Column, type Tone } from "../kit";
import type { Comparison, Divergence, Run, Side, Totals, TradeDifference } from "./types";

const CAUSES: Record<string, string> = {
  input: "a receipt is on one side only, or is another one",
  start: "the states differ before the ticker's first receipt",
  config: "the profiles differ",
  facts: "the accounts differ",
  code: "same values and limits, other outcome",
};
const STATUS: Record<TradeDifference["status"], { word: string; tone: Tone }> = {
  equal: { word: "equal", tone: "good" },
  different: { word: "different", tone: "warn" },
  left_only: { word: "only in A", tone: "bad" },
  right_only: { word: "only in B", tone: "bad" },
};

interface Given {
  left: string;
  right: string;
  runs: readonly Run[];
  isAdmin: boolean;
}

/** The last stored comparison of the two; with an admin key they can be compared now. */
export function Compare({ left, right, runs, isAdmin }: Given) {
  const found = usePolled<Comparison & { as_of_ts: number }>("/timed/replay/compare", { left, right }, 30);
  const compare = isAdmin && (
    <Action label={found.data === undefined ? "Compare now" : "Compare again"} path="/timed/admin/replay-compare" body={() => ({ a: left, b: right })}
      done="Compared." onDone={found.refresh} hints={{ 409: "A side has no bucket behind it yet.", 502: "replay_worker does not answer." }} />
  );
  if (found.error?.status === 404 && found.data === undefined)
    return <><Empty title="Not compared yet" hint={isAdmin ? "Compare them: the result is kept." : "Comparing is done with an admin key; the result can then be read with this one."} />{compare}</>;
  return (
    <Loaded of={found} what="the comparison" skeleton={<Skeleton kind="cards" />}>
      {(answer) => (
        <div class="comparison">
          <header>
            <Sides left={left} right={right} runs={runs} />
            <p><Pill tone={answer.identical ? "good" : "warn"}>{answer.identical ? "identical" : `${answer.divergent} of ${answer.tickers} tickers differ`}</Pill>{" "}
              <small>compared <Age ts={answer.compared_ts} now={answer.as_of_ts} /></small></p>
            {compare}
          </header>
          {answer.first_divergence !== null && <First of={answer.first_divergence} />}
          <TotalsTable of={answer.totals} />
          <Curves left={left} right={right} runs={runs} />
          <TradeList trades={answer.trades} />
        </div>
      )}
    </Loaded>
  );
}

function nameOf(side: string, runs: readonly Run[]): string {
  if (side === "live") return "live";
  const run = runs.find((one) => one.run_id === side);
  return run === undefined ? side.slice(0, 8) : `${run.date_from} ${run.ticker ?? "all"} · ${run.profile}`;
}

function Sides({ left, right, runs }: { left: string; right: string; runs: readonly Run[] }) {
  return (
    <dl class="sides">
      {([["A", left], ["B", right]] as const).map(([letter, side]) => (
        <div key={letter}><dt>{letter}</dt><dd>{nameOf(side, runs)} {side !== "live" && <span class="tag replay">REPLAY</span>}</dd></div>
      ))}
    </dl>
  );
}

function First({ of }: { of: Divergence }) {
  return (
    <section class="panel divergence" aria-labelledby="divergence-title">
      <h3 id="divergence-title">First divergence: {of.ticker}, bucket <When ts={of.bucket_ts} date /></h3>
      <p>{CAUSES[of.cause] ?? spaced(of.cause)}. The field <b>{spaced(of.field)}</b> differs{of.rule !== null && <> by rule <code>{of.rule}</code></>}.</p>
      <table class="plain">
        <caption class="hidden">Both sides of the first divergence</caption>
        <thead><tr><th scope="col">Side</th><th scope="col">{spaced(of.field)}</th><th scope="col">What the rule says</th></tr></thead>
        <tbody>
          <tr><th scope="row">A</th><td>{shown(of.left)}</td><td>{of.says[0] ?? "—"}</td></tr>
          <tr><th scope="row">B</th><td>{shown(of.right)}</td><td>{of.says[1] ?? "—"}</td></tr>
        </tbody>
      </table>
      <p class="hint">Receipt {of.receipt_id ?? "none"} of <When ts={of.ts} date />. {of.later_count} later differences of this ticker follow from it.</p>
    </section>
  );
}

/** A value of a decision, in words: text as it is, anything else as it was stored. */
export function shown(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  return typeof value === "string" ? value : JSON.stringify(value);
}

const COUNTS: [keyof Totals, string][] = [["decided", "Decided"], ["entries", "Entries"], ["adds", "Adds"], ["trims", "Trims"], ["exits", "Exits"]];

function TotalsTable({ of }: { of: Comparison["totals"] }) {
  return (
    <table class="plain totals">
      <caption>Totals</caption>
      <thead><tr><th scope="col">What</th><th scope="col" class="number">A</th><th scope="col" class="number">B</th><th scope="col" class="number">B − A</th></tr></thead>
      <tbody>
        {COUNTS.map(([name, words]) => (
          <tr key={name} class={of.left[name] === of.right[name] ? undefined : "differs"}>
            <th scope="row">{words}</th><td class="number">{of.left[name]}</td><td class="number">{of.right[name]}</td><td class="number">{of.difference[name] ?? "—"}</td>
          </tr>
        ))}
        <tr class={of.left.realized_pnl === of.right.realized_pnl ? undefined : "differs"}>
          <th scope="row">Realized P&L</th>
          <td class="number"><Signed text={of.left.realized_pnl} /></td><td class="number"><Signed text={of.right.realized_pnl} /></td>
          <td class="number"><Signed text={of.difference.realized_pnl as string | null | undefined} /></td>
        </tr>
      </tbody>
    </table>
  );
}

interface Curve {
  curve: { ts: number; equity: string | null }[];
}

function Curves({ left, right, runs }: { left: string; right: string; runs: readonly Run[] }) {
  const book = (side: string) => (side === "live" ? "live" : (runs.find((one) => one.run_id === side)?.book_id ?? `replay:${side}`));
  const a = usePolled<Curve>("/timed/portfolio", { books: book(left), range: "all" }, 30);
  const b = usePolled<Curve>("/timed/portfolio", { books: book(right), range: "all" }, 30);
  const lines = [["A", a.data], ["B", b.data]] as const;
  const known = lines.flatMap(([name, data]) => (data === undefined ? [] : [{ name, points: data.curve.filter((one) => one.equity !== null).map((one) => ({ ts: one.ts, value: one.equity! })) }]));
  if (known.every((line) => line.points.length === 0)) return null;
  return <Chart title="Equity of A and B" lines={known} isMoney unit="USD" />;
}

const TRADES: Column<TradeDifference>[] = [
  { label: "Trade", kind: "head", cell: (one) => `${one.ticker ?? "—"} ${one.left?.direction ?? one.right?.direction ?? ""}` },
  { label: "Outcome", cell: (one) => <Pill tone={STATUS[one.status].tone}>{STATUS[one.status].word}</Pill> },
  { label: "A quantity", kind: "number", cell: (one) => <Qty text={one.left?.quantity} /> },
  { label: "B quantity", kind: "number", cell: (one) => <Qty text={one.right?.quantity} /> },
  { label: "A realized", kind: "number", cell: (one) => <Signed text={one.left?.realized_pnl} /> },
  { label: "B realized", kind: "number", cell: (one) => <Signed text={one.right?.realized_pnl} /> },
  { label: "Entered", cell: (one) => <When ts={one.left?.first_entry_ts ?? one.right?.first_entry_ts} date /> },
  { label: "First difference", kind: "words", cell: (one) => one.first_difference ?? "—" },
];

function TradeList({ trades }: { trades: readonly TradeDifference[] }) {
  const differing = trades.filter((one) => one.status !== "equal");
  const equal = trades.length - differing.length;
  return (
    <section>
      <h3>Trades <span class="count">· {differing.length} differ, {equal} equal</span></h3>
      {differing.length === 0 ? <p class="hint">Every trade is on both sides, action by action.</p> : <Rows caption="Trades that differ" columns={TRADES} rows={differing} keyOf={(one) => (one.left ?? one.right as Side).position_id} />}
    </section>
  );
}
