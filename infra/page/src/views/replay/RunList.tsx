// The runs, youngest first: how far each is, what it made, and which two are compared.
import type { JSX } from "preact";
import type { Rows } from "../../lib/list.ts";
import { formatted } from "../../lib/decimal.ts";
import { Link, type Params } from "../../lib/router.tsx";
import { clock } from "../../lib/time.ts";
import { column, heading, numeric } from "../../parts/columns.ts";
import { Hash } from "../../parts/Hash.tsx";
import { Money } from "../../parts/Money.tsx";
import { More } from "../../parts/More.tsx";
import { Pill, type Tone } from "../../parts/Pill.tsx";
import { ProgressBar } from "../../parts/ProgressBar.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import { When } from "../../parts/When.tsx";
import type { Run, Runs } from "./types.ts";

const TONES: Readonly<Record<Run["status"], Tone>> = { planned: "info", running: "info", paused: "warning", done: "gain", failed: "loss", cancelled: "plain" };
const GRADES: Readonly<Record<string, Tone>> = { complete: "gain", thin: "warning", gap: "loss" };

interface Props {
  found: Rows<Run, Runs>;
  params: Params;
}

export function RunList({ found, params }: Props): JSX.Element {
  const isChosen = (one: Run): boolean => one.run_id === params["left"] || one.run_id === params["right"];
  return (
    <>
      <Table caption="Replay runs, youngest first" columns={columns(params)} rows={found.rows} rowKey={(one) => one.run_id} rowClass={(one) => (isChosen(one) ? "chosen" : "")} />
      <More of={found} />
    </>
  );
}

export function scopeWords(one: Run): string {
  const days = one.date_from === one.date_to ? one.date_from : `${one.date_from} – ${one.date_to}`;
  return `${days} ${one.ticker ?? "all tickers"}`;
}

function columns(params: Params): Column<Run>[] {
  return [
    heading("Run", (one) => (
      <span class="run-name">
        {scopeWords(one)} <span class="replay-label">REPLAY</span>
        <small class="hint">{one.name ?? one.run_id.slice(0, 8)} · {one.profile} · script {one.script_version} · {one.session}</small>
      </span>
    )),
    column("State", (one) => <span><Pill tone={TONES[one.status]} title={one.error ?? `since ${clock(one.finished_ts ?? one.started_ts ?? one.created_ts, { date: true })}`}>{one.status}</Pill>{one.error !== null && <small class="loss words"> {one.error}</small>}</span>),
    column("Progress", (one) => <Progress of={one} />),
    numeric("Rows/s", (one) => (one.progress.rows_per_second === null ? "—" : formatted(one.progress.rows_per_second, { most: 0 }))),
    numeric("Trades", (one) => one.trades_created + (one.trades_purged > 0 ? ` (${one.trades_purged} purged)` : "")),
    numeric("Realized P&L", (one) => <Realized of={one} />),
    column("Input", (one) => (one.grade === null ? "—" : <Pill tone={GRADES[one.grade] ?? "warning"} title="How whole the stored receipts of the day are">{one.grade}</Pill>)),
    column("Started", (one) => <When ts={one.started_ts ?? one.created_ts} date />),
    column("State hash", (one) => (one.state_hash === null ? "—" : <Hash of={one.state_hash} />)),
    column("Compare", (one) => <Choose of={one} params={params} />),
  ];
}

// "12.50" of 12 of 96, as the bar wants it.
function share(done: number, total: number): string {
  return total === 0 ? "0" : ((Math.min(done, total) * 100) / total).toFixed(2);
}

function Progress({ of }: { of: Run }): JSX.Element {
  const { buckets_done: done, buckets_total: total, bucket_ts, rows } = of.progress;
  return (
    <span class="run-progress">
      {total !== null && <ProgressBar value={share(done, total)} word="of the run done" />}
      <small class="hint">
        <span class="num">{done}{total === null ? "" : ` of ${total}`}</span> buckets{bucket_ts === null ? "" : ` to ${clock(bucket_ts, { seconds: false })}`} · <span class="num">{rows.toLocaleString("en-US")}</span> rows
      </small>
    </span>
  );
}

function Realized({ of }: { of: Run }): JSX.Element {
  if (of.realized.length === 0) return <span class="unknown">—</span>;
  return <>{of.realized.map(({ currency, realized_pnl }) => <Money key={currency} value={realized_pnl} currency={currency} pnl />)}</>;
}

function Choose({ of, params }: { of: Run; params: Params }): JSX.Element {
  const { left, right } = params as { left?: string; right?: string };
  if (of.status === "planned") return <span class="unknown">—</span>;
  return (
    <span class="run-sides">
      <Link class="button small" to="/app/replay" params={{ ...params, left: of.run_id, right: right ?? "live" }} aria-current={of.run_id === left ? "true" : undefined} aria-label={`Compare ${scopeWords(of)} as A`}>A</Link>
      <Link class="button small" to="/app/replay" params={{ ...params, left: left ?? "live", right: of.run_id }} aria-current={of.run_id === right ? "true" : undefined} aria-label={`Compare ${scopeWords(of)} as B`}>B</Link>
    </span>
  );
}
