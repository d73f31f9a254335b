// The runs, youngest first: how far each is, what it made, and which two are compared.

import { Hash, Link, More, Pill, ProgressBar, Rows, Signed, Text, When, spaced, type Column, type Pages, type Tone } from "../kit";
import type { Run } from "./types";

const TONES: Record<string, Tone> = { planned: "info", running: "info", paused: "warn", done: "good", failed: "bad", cancelled: "quiet" };

interface Given {
  found: Pages<Run>;
  left: string | null;
  right: string | null;
  params: Record<string, string>;
}

/** The list of runs. */
export function RunList({ found, left, right, params }: Given) {
  return (
    <>
      <Rows caption="Replay runs, youngest first" columns={columns(left, right, params)} rows={found.items} keyOf={(one) => one.run_id}
        isChosen={(one) => one.run_id === left || one.run_id === right} />
      <More of={found} />
    </>
  );
}

function columns(left: string | null, right: string | null, params: Record<string, string>): Column<Run>[] {
  return [
    { label: "Run", kind: "head", cell: (one) => <Name of={one} /> },
    { label: "State", cell: (one) => <Pill tone={TONES[one.status] ?? "warn"} title={one.error ?? undefined}>{spaced(one.status)}</Pill> },
    { label: "Progress", cell: (one) => <Progress of={one} /> },
    { label: "Rows/s", kind: "number", cell: (one) => <Text of={one.rows_per_second} /> },
    { label: "Trades", kind: "number", cell: (one) => one.trades_created + (one.trades_purged > 0 ? ` (${one.trades_purged} purged)` : "") },
    { label: "Realized P&L", kind: "number", cell: (one) => <Signed text={one.realized_pnl} currency={one.currency} /> },
    { label: "Input", cell: (one) => <Gaps of={one} /> },
    { label: "Started", cell: (one) => <When ts={one.started_ts ?? one.created_ts} date /> },
    { label: "State hash", cell: (one) => (one.state_hash === null ? "—" : <Hash of={one.state_hash} />) },
    { label: "Compare", cell: (one) => <Choose of={one} left={left} right={right} params={params} /> },
  ];
}

function Name({ of }: { of: Run }) {
  const days = of.date_from === of.date_to ? of.date_from : `${of.date_from} – ${of.date_to}`;
  return (
    <span class="run-name">
      <b>{days} {of.ticker ?? "all tickers"}</b>
      <small><span class="tag replay">REPLAY</span> {of.name ?? of.run_id.slice(0, 8)} · {of.profile} · script {of.script_version} · {of.session}</small>
    </span>
  );
}

function Progress({ of }: { of: Run }) {
  const total = of.buckets_total;
  const words = total === null ? `${of.buckets_done} buckets` : `${of.buckets_done} of ${total} buckets`;
  return (
    <span class="run-progress">
      <ProgressBar value={of.buckets_done} max={total ?? Math.max(of.buckets_done, 1)} label={words} />
      <small>{words}, {of.rows.toLocaleString("en-US")} rows</small>
    </span>
  );
}

function Gaps({ of }: { of: Run }) {
  if (of.gaps === null || of.gaps.length === 0) return <>—</>;
  const worst = of.gaps.find((day) => day.grade === "gap") ?? of.gaps.find((day) => day.grade === "thin") ?? of.gaps[0]!;
  return <Pill tone={{ complete: "good", thin: "warn", gap: "bad" }[worst.grade] as Tone ?? "warn"} title={of.gaps.map((day) => `${day.date}: ${day.grade}`).join(", ")}>{worst.grade}</Pill>;
}

function Choose({ of, left, right, params }: { of: Run; left: string | null; right: string | null; params: Record<string, string> }) {
  if (of.status === "planned") return <>—</>;
  return (
    <span class="choose-side">
      <Link to="replay" params={{ ...params, left: of.run_id, right: right ?? "live" }} replace current={of.run_id === left}>as A</Link>
      <Link to="replay" params={{ ...params, left: left ?? of.run_id, right: of.run_id }} replace current={of.run_id === right}>as B</Link>
    </span>
  );
}
