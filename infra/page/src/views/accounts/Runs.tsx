// The runs of an account, newest first: the window that was asked for, what was covered, what came, and how it ended.
import type { JSX } from "preact";
import { useRows } from "../../lib/list.ts";
import { column, heading, numeric } from "../../parts/columns.ts";
import { Empty } from "../../parts/Empty.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { More } from "../../parts/More.tsx";
import { Pill } from "../../parts/Pill.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import { When } from "../../parts/When.tsx";
import type { Account, SyncRun, SyncRuns } from "./types.ts";
import { runTone, spaced } from "./words.ts";

const COLUMNS: readonly Column<SyncRun>[] = [
  heading("Started", (one) => <When ts={one.started_ts} date />),
  column("Source", (one) => `${one.source} ${spaced(one.kind)}`),
  column("State", (one) => <Pill tone={runTone(one.state)}>{one.state}</Pill>),
  column("Asked", (one) => <Span from={one.requested_from_ts} to={one.requested_to_ts} wall={[one.window?.requested_from, one.window?.requested_to]} />),
  column("Covered", (one) => <Span from={one.covered_from_ts} to={one.covered_to_ts} wall={[one.window?.requested_from, one.window?.covered_to]} />),
  column("Brought", (one) => <span class="words">{counts(one)}</span>),
  numeric("Took", (one) => (one.duration_seconds === null ? "running" : `${one.duration_seconds} s`)),
  column("Error", (one) => <span class={one.error_class === null ? "words" : "words loss"}>{[one.error_class, one.error_text].filter((part) => part != null).join(": ") || "—"}</span>),
];

function counts(one: SyncRun): string {
  const told = Object.entries(one.counts ?? {}).filter(([, count]) => typeof count === "number" && count > 0);
  return told.map(([name, count]) => `${count} ${spaced(name.replace(/_count$/, ""))}`).join(", ") || "nothing new";
}

interface SpanProps {
  from: number | null | undefined;
  to: number | null | undefined;
  wall: readonly [string | null | undefined, string | null | undefined];
}

// A window by its instants, or as the wall clock of the account's server showed it.
function Span({ from, to, wall: [begins, ends] }: SpanProps): JSX.Element {
  if (from != null && to != null) return <span class="span"><When ts={from} date seconds={false} zone={false} /> – <When ts={to} date seconds={false} /></span>;
  if (begins == null || ends == null) return <span class="unknown">—</span>;
  return <span class="span" title="By the clock of the account's server">{wall(begins)} – {wall(ends)} <small class="hint">server time</small></span>;
}

function wall(text: string): string {
  return text.slice(0, 16).replace("T", " ");
}

export function Runs({ account }: { account: Account }): JSX.Element {
  const found = useRows<SyncRun, SyncRuns>({ path: `/api/v1/accounts/${account.account_id}/sync-runs`, step: 25, most: 500, rows: ({ items }) => items });
  return (
    <Loaded of={found} skeleton={<Skeleton kind="table" rows={8} />}>
      {() =>
        found.rows.length === 0 ? (
          <Empty title="No run yet">The first run of this account has not begun.</Empty>
        ) : (
          <>
            <Table caption="Sync runs of the account, newest first" columns={COLUMNS} rows={found.rows} rowKey={(one) => `${one.run_id} ${one.source} ${one.kind}`} />
            <More of={found} />
          </>
        )
      }
    </Loaded>
  );
}
