// The closed trades of the filter by what they earned: a ranking from the best to the worst, and how the results are spread.
import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { Trade, Trades } from "../../api/types.ts";
import { useScope } from "../../lib/books.ts";
import { compareNullable } from "../../lib/decimal.ts";
import { usePolled } from "../../lib/poll.ts";
import { Link } from "../../lib/router.tsx";
import { Card } from "../../parts/Card.tsx";
import { Empty } from "../../parts/Empty.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { Money } from "../../parts/Money.tsx";
import { Percent } from "../../parts/Percent.tsx";
import { Pill } from "../../parts/Pill.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import { Toggle } from "../../parts/Tabs.tsx";
import { When } from "../../parts/When.tsx";
import { Distribution } from "./Distribution.tsx";
import { asked, type Filter } from "./filter.ts";
import { Outcome } from "./TradeList.tsx";

const LIMIT = 1_000;
const SHOWN = 50;

interface Ranked {
  rank: number;
  trade: Trade;
}

const COLUMNS: readonly Column<Ranked>[] = [
  { key: "rank", title: "Rank", numeric: true, cell: ({ rank }) => rank },
  { key: "ticker", title: "Ticker", heading: true, cell: ({ trade }) => <Link to={`/app/positions/${trade.position_id}`}>{trade.ticker}</Link> },
  { key: "direction", title: "Direction", cell: ({ trade }) => <Pill>{trade.direction}</Pill> },
  { key: "outcome", title: "Outcome", cell: ({ trade }) => <Outcome trade={trade} /> },
  { key: "pnl", title: "Realized P&L", numeric: true, cell: ({ trade }) => <Money value={trade.realized_pnl} currency={trade.currency} pnl /> },
  { key: "return", title: "Return", numeric: true, cell: ({ trade }) => <Percent value={trade.return_percent} signed /> },
  { key: "closed", title: "Closed", cell: ({ trade }) => <When ts={trade.last_action_ts} date seconds={false} /> },
];

export function ByResult({ filter }: { filter: Filter }): JSX.Element {
  const { query } = useScope();
  const { status: _, ...rest } = filter;
  const answer = usePolled<Trades>("/timed/trades", { ...query, ...asked(rest), status: "closed", limit: String(LIMIT) });
  return (
    <Loaded of={answer} skeleton={<Skeleton kind="table" rows={10} />}>
      {({ trades, has_more }) => (trades.length === 0 ? <Empty title="No closed trade matches the filter">Closed trades would be ranked here by what they earned.</Empty> : <Spread trades={trades} hasMore={has_more} />)}
    </Loaded>
  );
}

function Spread({ trades, hasMore }: { trades: readonly Trade[]; hasMore: boolean }): JSX.Element {
  const currencies = useMemo(() => [...new Set(trades.map(({ currency }) => currency))].sort(), [trades]);
  const [own, setOwn] = useState<string | null>(null);
  const [isWorstFirst, setWorstFirst] = useState(false);
  const currency = own !== null && currencies.includes(own) ? own : (currencies[0] ?? "");
  const mine = useMemo(() => trades.filter((trade) => trade.currency === currency), [trades, currency]);
  const ranked = useMemo((): Ranked[] => {
    const sorted = mine.filter(({ realized_pnl }) => realized_pnl !== null).sort((a, b) => compareNullable(a.realized_pnl, b.realized_pnl, -1) || a.first_entry_ts - b.first_entry_ts);
    return sorted.map((trade, number) => ({ rank: number + 1, trade }));
  }, [mine]);
  const shown = isWorstFirst ? [...ranked].reverse().slice(0, SHOWN) : ranked.slice(0, SHOWN);
  const unknown = mine.length - ranked.length;
  return (
    <div class="stack">
      {hasMore && <p class="notice" role="status">The newest {LIMIT.toLocaleString("en-US")} closed trades are ranked; narrow the range for older ones.</p>}
      {currencies.length > 1 && <Toggle label="Currency" tabs={currencies.map((key) => ({ key, title: key }))} chosen={currency} choose={setOwn} />}
      <Card title="Distribution" hint={`Realized P&L of ${ranked.length.toLocaleString("en-US")} closed ${ranked.length === 1 ? "trade" : "trades"}${unknown > 0 ? `; ${unknown} more have no known result` : ""}`}>
        <Distribution results={ranked.flatMap(({ trade }) => (trade.realized_pnl === null ? [] : [trade.realized_pnl]))} currency={currency} />
      </Card>
      <Card
        title="Ranking"
        hint={ranked.length > SHOWN ? `${SHOWN} of ${ranked.length.toLocaleString("en-US")} are listed` : undefined}
        actions={<Toggle label="Order" tabs={[{ key: "best", title: "Best first" }, { key: "worst", title: "Worst first" }]} chosen={isWorstFirst ? "worst" : "best"} choose={(key) => setWorstFirst(key === "worst")} />}
      >
        <Table caption={`Closed trades by realized P&L, ${isWorstFirst ? "worst" : "best"} first`} columns={COLUMNS} rows={shown} rowKey={({ trade }) => `${trade.book_id}/${trade.position_id}`} />
      </Card>
    </div>
  );
}
