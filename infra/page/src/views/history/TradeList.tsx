// The filter's trades, newest entry first, page after page.
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import type { Trade } from "../../api/types.ts";
import { useScope } from "../../lib/books.ts";
import { Link } from "../../lib/router.tsx";
import { BookName } from "../BookName.tsx";
import { Badge } from "../../parts/Badge.tsx";
import { Empty } from "../../parts/Empty.tsx";
import { ErrorBox } from "../../parts/ErrorBox.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { Money } from "../../parts/Money.tsx";
import { Percent } from "../../parts/Percent.tsx";
import { Pill } from "../../parts/Pill.tsx";
import { Price } from "../../parts/Price.tsx";
import { Qty } from "../../parts/Qty.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import { When } from "../../parts/When.tsx";
import { asked, isEmpty, type Filter } from "./filter.ts";
import type { Change } from "./Filters.tsx";
import { FIELDS } from "./filter.ts";
import { usePages } from "./pages.ts";

const LIMIT = "50";

// how a trade stands or ended, as a word
export function Outcome({ trade }: { trade: Trade }): JSX.Element {
  if (trade.status === "OPEN") return <Badge tone="info">OPEN</Badge>;
  const word = trade.outcome ?? "CLOSED";
  return <Badge tone={word === "WIN" ? "gain" : word === "LOSS" ? "loss" : "plain"}>{word}</Badge>;
}

export function reasonOf(trade: Trade): string {
  const last = trade.execution_actions?.at(-1);
  return last?.reason_text ?? last?.reason ?? "—";
}

const COLUMNS: readonly Column<Trade>[] = [
  { key: "ticker", title: "Ticker", heading: true, cell: (trade) => <Link to={`/app/positions/${trade.position_id}`}>{trade.ticker}</Link> },
  { key: "direction", title: "Direction", cell: ({ direction }) => <Pill>{direction}</Pill> },
  { key: "outcome", title: "Outcome", cell: (trade) => <Outcome trade={trade} /> },
  { key: "entry", title: "First entry", cell: ({ first_entry_ts }) => <When ts={first_entry_ts} date seconds={false} /> },
  { key: "last", title: "Last execution", cell: ({ last_action_ts }) => <When ts={last_action_ts} date seconds={false} /> },
  { key: "qty", title: "Opened", numeric: true, cell: ({ opened_qty }) => <Qty value={opened_qty} /> },
  { key: "price", title: "Entry price", numeric: true, cell: ({ entry_price }) => <Price value={entry_price} /> },
  { key: "realized", title: "Realized", numeric: true, cell: ({ realized_pnl, currency }) => <Money value={realized_pnl} currency={currency} pnl /> },
  { key: "return", title: "Return", numeric: true, cell: ({ return_percent }) => <Percent value={return_percent} signed /> },
  { key: "fees", title: "Fees", numeric: true, cell: ({ fees, currency }) => <Money value={fees} currency={currency} /> },
  { key: "reason", title: "Last reason", cell: (trade) => <span class="history-reason">{reasonOf(trade)}</span> },
];

const BOOK: Column<Trade> = { key: "book", title: "Book", cell: ({ book_id }) => <BookName id={book_id} /> };

interface Props {
  filter: Filter;
  change: Change;
}

export function TradeList({ filter, change }: Props): JSX.Element {
  const { query, books } = useScope();
  const params = useMemo(() => ({ ...query, ...asked(filter), include: "actions", limit: LIMIT }), [query, filter]);
  const { first, pages, isNewer, isLoading, error, more, anew } = usePages("/timed/trades", params);
  const trades = useMemo(() => pages.flatMap((page) => page.trades), [pages]);
  const columns = books.length > 1 || books[0] === "all" ? [...COLUMNS, BOOK] : COLUMNS;
  const hasMore = pages.at(-1)?.has_more ?? false;
  return (
    <Loaded of={first} skeleton={<Skeleton kind="table" rows={10} />}>
      {() =>
        trades.length === 0 ? (
          <Nothing filter={filter} change={change} />
        ) : (
          <>
            {isNewer && <p class="history-newer" role="status">Newer data are there; this list stands as it was known when it was opened. <button type="button" class="button small" onClick={anew}>Show the newest</button></p>}
            <Table caption="Trades of the filter, newest first entry first" columns={columns} rows={trades} rowKey={({ position_id, book_id }) => `${book_id}/${position_id}`} />
            {error !== null && <ErrorBox error={error} retry={more} compact shown="The pages before stay." />}
            <p class="history-more">
              <span class="hint" role="status">{trades.length.toLocaleString("en-US")} {trades.length === 1 ? "trade" : "trades"} shown{hasMore ? ", there are more" : ", these are all"}.</span>
              {hasMore && <button type="button" class="button" disabled={isLoading} onClick={more}>{isLoading ? "Loading…" : "Load more"}</button>}
            </p>
          </>
        )
      }
    </Loaded>
  );
}

function Nothing({ filter, change }: Props): JSX.Element {
  if (isEmpty(filter)) return <Empty title="No trade yet">Every position that is ever opened stands here, from its first entry to its last exit.</Empty>;
  return (
    <>
      <Empty title="No trade matches the filter">A position belongs to a range when any of its executions does.</Empty>
      <p class="history-more"><button type="button" class="button" onClick={() => change(Object.fromEntries(FIELDS.map((field) => [field, null])))}>Clear filters</button></p>
    </>
  );
}
