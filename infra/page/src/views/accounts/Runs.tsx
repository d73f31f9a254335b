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
import type { Account, Run, SyncRuns } from "./types.ts";
import { runTone, spaced } from "./words.ts";

const COLUMNS: readonly Column<Run>[] = [
  heading("Started", (one) => <When ts={one.started_ts} date />),
  column("Source", (one) => `${one.source} ${spaced(one.kind)}`),
  column("State", (one) => <Pill tone={runTone(one.state)}>{one.state}</Pill>),
  column("Asked", (one) => ("window" in one ? <Wall from={one.window?.requested_from} to={one.window?.requested_to} /> : <Span from={one.requested_from_ts} to={one.requested_to_ts} />)),
  column("Covered", (one) => ("window" in one ? <Wall from={one.window?.requested_from} to={one.window?.covered_to} /> : <Span from={one.covered_from_ts} to={one.covered_to_ts} />)),
  column("Brought", (one) => <span class="words">{counts(one)}</span>),
  numeric("Took", (one) => (one.duration_seconds === null ? "running" : `${one.duration_seconds} s`)),
  column("Error", (one) => <span class={one.error_class === null ? "words" : "words loss"}>{wrong(one)}</span>),
];

function counts(one: Run): string {
  const told = Object.entries(one.counts ?? {}).filter(([, count]) => typeof count === "number" && count > 0);
  return told.map(([name, count]) => `${count} ${spaced(name.replace(/_count$/, ""))}`).join(", ") || "nothing new";
}

function wrong(one: Run): string {
  return [one.error_class, "error_text" in one ? one.error_text : null].filter((part) => part !== null).join(": ") || "—";
}

function Span({ from, to }: { from: number | null; to: number | null }): JSX.Element {
  if (from === null || to === null) return <span class="unknown">—</span>;
  return <span class="span"><When ts={from} date seconds={false} zone={false} /> – <When ts={to} date seconds={false} /></span>;
}

// A window as the wall clock of the account's server showed it: what instants these were only the server knows.
function Wall({ from, to }: { from: string | null | undefined; to: string | null | undefined }): JSX.Element {
  if (from == null || to == null) return <span class="unknown">—</span>;
  return <span class="span" title="By the clock of the account's server">{wall(from)} – {wall(to)} <small class="hint">server time</small></span>;
}

function wall(text: string): string {
  return text.slice(0, 16).replace("T", " ");
}

export function Runs({ account }: { account: Account }): JSX.Element {
  const found = useRows<Run, SyncRuns>({ path: `/api/v1/accounts/${account.account_id}/sync-runs`, step: 25, most: 500, rows: ({ items }) => items });
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
