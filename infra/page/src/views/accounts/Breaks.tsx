// Differences between our books and the brokers that are open: what was expected, what the broker has, why, and since when.
import type { JSX } from "preact";
import { usePolled } from "../../lib/poll.ts";
import { Age } from "../../parts/Age.tsx";
import { Book } from "../../parts/Book.tsx";
import { column, heading, numeric } from "../../parts/columns.ts";
import { Empty } from "../../parts/Empty.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { Money } from "../../parts/Money.tsx";
import { Pill } from "../../parts/Pill.tsx";
import { Qty } from "../../parts/Qty.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import type { Account, Break, Breaks as Answer, Numbered } from "./types.ts";
import { spaced } from "./words.ts";

interface Props {
  account: Account | null;
  numbered: readonly Numbered[];
  unassigned: Readonly<Record<string, number>>;
}

// Open breaks of the chosen account's book, or of every book of the key; above them what else waits for a decision.
export function Breaks({ account, numbered, unassigned }: Props): JSX.Element {
  const found = usePolled<Answer>("/timed/audit", { book_id: account?.book_id ?? null });
  return (
    <>
      <Waiting of={account === null ? numbered : numbered.filter((one) => one.account_id === account.account_id)} unassigned={account === null ? unassigned : {}} />
      <Loaded of={found} skeleton={<Skeleton kind="table" rows={4} />}>
        {(answer) =>
          answer.breaks.length === 0 ? (
            <Empty title="No open break">Every position and balance that a broker told of equals our book.</Empty>
          ) : (
            <>
              <Table caption="Open breaks, oldest first" columns={COLUMNS} rows={answer.breaks} rowKey={(one) => one.break_id} />
              {answer.has_more && <p class="hint">Only the oldest thousand are listed.</p>}
            </>
          )
        }
      </Loaded>
    </>
  );
}

// A difference in money has a currency, one in quantity has none.
function Figure({ text, currency }: { text: string | null; currency: string | null }): JSX.Element {
  return currency === null ? <Qty value={text} /> : <Money value={text} currency={currency} />;
}

const COLUMNS: readonly Column<Break>[] = [
  heading("What", (one) => `${one.ticker ?? one.instrument ?? "Account"} ${spaced(one.kind)}`),
  column("Book", (one) => <Book id={one.book_id} />),
  numeric("Expected", (one) => <Figure text={one.expected} currency={one.currency} />),
  numeric("Broker has", (one) => <Figure text={one.actual} currency={one.currency} />),
  numeric("Difference", (one) => <Figure text={one.difference} currency={one.currency} />),
  column("Cause", (one) => <span class="words"><Pill tone="warning">{one.cause}</Pill> {one.note}</span>),
  column("First seen", (one) => <span><Age ts={one.first_seen_ts} lateMinutes={0} oldMinutes={2880} /> · {one.sessions} {one.sessions === 1 ? "session" : "sessions"}</span>),
  column("Last seen", (one) => <Age ts={one.last_seen_ts} />),
];

function Waiting({ of, unassigned }: { of: readonly Numbered[]; unassigned: Readonly<Record<string, number>> }): JSX.Element | null {
  const lines = of.flatMap(({ book_id, is_opening_missing, anomalies, quarantine }) => [
    ...(is_opening_missing ? [[book_id, "the opening balance is missing"]] : []),
    ...Object.entries(anomalies).map(([kind, count]) => [book_id, `${count} open: ${spaced(kind)}`]),
    ...Object.entries(quarantine).map(([reason, count]) => [book_id, `${count} rows refused: ${spaced(reason)}`]),
  ]);
  const strays = Object.entries(unassigned).map(([reason, count]) => `${count} rows refused that name no account of the desk: ${spaced(reason)}`);
  if (lines.length + strays.length === 0) return null;
  return (
    <div class="notice waiting">
      <p>Also waiting for a decision</p>
      <ul>
        {lines.map(([book = "", words = ""]) => <li key={book + words}><Book id={book} />: {words}</li>)}
        {strays.map((words) => <li key={words}>{words}</li>)}
      </ul>
    </div>
  );
}
