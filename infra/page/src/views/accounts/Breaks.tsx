// Differences between our books and the brokers that are open: what was expected, what the broker has, why, and since when.

import { Age, Empty, Loaded, Money, Rows, Skeleton, usePolled, type Column } from "../kit";
import type { Account, Audit, Break, Numbered } from "./types";
import { spaced } from "./words";

interface Given {
  account: Account | null;
  numbered: readonly Numbered[];
}

/** Open breaks of the chosen account's book, or of every book of the key; above them what waits in its room. */
export function Breaks({ account, numbered }: Given) {
  const found = usePolled<Audit>("/timed/audit", { book_id: account?.book_id ?? null }, 30);
  return (
    <>
      <Waiting of={account === null ? numbered : numbered.filter((one) => one.account_id === account.account_id)} />
      <Loaded of={found} what="open breaks" skeleton={<Skeleton kind="rows" />}>
        {(answer) =>
          answer.breaks.length === 0 ? (
            <Empty title="No open break" hint="Every position and balance that a broker told of equals our book." />
          ) : (
            <>
              <Rows caption="Open breaks, oldest first" columns={columns(answer.as_of_ts)} rows={answer.breaks} keyOf={(one) => one.break_id} />
              {answer.has_more && <p class="hint">Only the oldest thousand are listed.</p>}
            </>
          )
        }
      </Loaded>
    </>
  );
}

function columns(now: number): Column<Break>[] {
  return [
    { label: "What", kind: "head", cell: (one) => `${one.ticker ?? one.instrument ?? "account"} ${spaced(one.kind)}` },
    { label: "Book", cell: (one) => one.book_id },
    { label: "Expected", kind: "number", cell: (one) => <Money text={one.expected} currency={one.currency} /> },
    { label: "Broker has", kind: "number", cell: (one) => <Money text={one.actual} currency={one.currency} /> },
    { label: "Difference", kind: "number", cell: (one) => <Money text={one.difference} currency={one.currency} /> },
    { label: "Cause", kind: "words", tone: () => "warn", cell: (one) => [one.cause === null ? "not known yet" : spaced(one.cause), one.note].filter(Boolean).join(": ") },
    { label: "Age", cell: (one) => <><Age ts={one.first_seen_ts} now={now} bare /> · {one.sessions} {one.sessions === 1 ? "session" : "sessions"}</> },
    { label: "Last seen", cell: (one) => <Age ts={one.last_seen_ts} now={now} /> },
  ];
}

function Waiting({ of }: { of: readonly Numbered[] }) {
  const lines = of.flatMap((one) => [
    ...(one.is_opening_missing ? [`${one.book_id}: the opening balance is missing`] : []),
    ...Object.entries(one.anomalies).map(([kind, count]) => `${one.book_id}: ${count} open ${spaced(kind)}`),
    ...Object.entries(one.quarantine).map(([reason, count]) => `${one.book_id}: ${count} refused rows, ${spaced(reason)}`),
  ]);
  if (lines.length === 0) return null;
  return <ul class="waiting" aria-label="What else waits for a decision">{lines.map((line) => <li key={line}>{line}</li>)}</ul>;
}
