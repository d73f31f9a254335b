// The runs of an account, newest first: the window that was asked for, what was covered, what came, and how it ended.

import { Empty, Loaded, More, Pill, Rows, Skeleton, When, usePages, type Column } from "../kit";
import type { Account, SyncRun, SyncRuns } from "./types";
import { runTone, spaced } from "./words";

const COLUMNS: Column<SyncRun>[] = [
  { label: "Started", kind: "head", cell: (one) => <When ts={one.started_ts} date /> },
  { label: "Source", cell: (one) => `${one.source} ${spaced(one.kind)}` },
  { label: "State", cell: (one) => <Pill tone={runTone(one.state)}>{spaced(one.state)}</Pill> },
  { label: "Asked", cell: (one) => <Span from={one.requested_from_ts} to={one.requested_to_ts} texts={[one.window?.requested_from, one.window?.requested_to]} /> },
  { label: "Covered", cell: (one) => <Span from={one.covered_from_ts} to={one.covered_to_ts} texts={[one.window?.requested_from, one.window?.covered_to]} /> },
  { label: "Counts", kind: "words", cell: counts },
  { label: "Took", kind: "number", cell: (one) => (one.duration_seconds === null ? "running" : `${one.duration_seconds} s`) },
  { label: "Error", kind: "words", tone: (one) => (one.error_class === null ? undefined : "bad"), cell: (one) => [one.error_class, one.error_text].filter(Boolean).join(": ") || "—" },
];

function counts(one: SyncRun): string {
  const told = Object.entries(one.counts ?? {}).filter(([, count]) => count > 0);
  return told.map(([name, count]) => `${count} ${spaced(name.replace(/_count$/, ""))}`).join(", ") || "nothing new";
}

/** A window by its instants, or as the wall clock of the account's server showed it. */
function Span({ from, to, texts }: { from?: number | null; to?: number | null; texts: (string | null | undefined)[] }) {
  if (from != null && to != null) return <><When ts={from} date /> – <When ts={to} date /></>;
  if (texts[0] == null || texts[1] == null) return <>—</>;
  return <span title="By the clock of the account's server">{wall(texts[0])} – {wall(texts[1])}</span>;
}

function wall(text: string): string {
  return text.slice(0, 16).replace("T", " ");
}

/** The runs of the chosen account. */
export function Runs({ account }: { account: Account }) {
  const found = usePages<SyncRun, SyncRuns>(`/api/v1/accounts/${account.account_id}/sync-runs`, { limit: "25" }, 30);
  return (
    <Loaded of={found} what="sync runs" skeleton={<Skeleton kind="rows" />}>
      {() =>
        found.items.length === 0 ? (
          <Empty title="No run yet" hint="The first run of this account has not begun." />
        ) : (
          <>
            <Rows caption="Sync runs of the account, newest first" columns={COLUMNS} rows={found.items} keyOf={(one) => one.run_id + one.source} />
            <More of={found} />
          </>
        )
      }
    </Loaded>
  );
}
