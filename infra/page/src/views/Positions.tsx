// Open positions as a grid of cards: by direction, in the reader's order, with a total per currency.
import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import type { Trade, Trades } from "../api/types.ts";
import { useScope } from "../lib/books.ts";
import { compareNullable, total } from "../lib/decimal.ts";
import { memo } from "../lib/memo.ts";
import { LIVE_SECONDS, usePolled } from "../lib/poll.ts";
import { useFilters } from "../lib/router.tsx";
import { Empty } from "../parts/Empty.tsx";
import { Freshness } from "../parts/Freshness.tsx";
import { Loaded } from "../parts/Loaded.tsx";
import { Money } from "../parts/Money.tsx";
import { Skeleton } from "../parts/Skeleton.tsx";
import { Toggle } from "../parts/Tabs.tsx";
import { counted } from "../parts/words.ts";
import { PositionCard } from "./PositionCard.tsx";
import "./positions.css";

const AT_ONCE = 60; // cards that are drawn in one go: more than a screen holds, few enough that nothing waits for them
const SIDES = ["ALL", "LONG", "SHORT"] as const;
type Order = (left: Trade, right: Trade) => number;

const ORDERS: Readonly<Record<string, { title: string; order: Order }>> = {
  entry: { title: "Entry, newest first", order: (a, b) => b.first_entry_ts - a.first_entry_ts },
  pnl: { title: "P&L, best first", order: (a, b) => compareNullable(a.unrealized_pnl, b.unrealized_pnl, -1) },
  day: { title: "Day change, best first", order: (a, b) => compareNullable(a.day_change_percent, b.day_change_percent, -1) },
  ticker: { title: "Ticker, A to Z", order: (a, b) => (a.ticker < b.ticker ? -1 : a.ticker > b.ticker ? 1 : 0) },
};

export default function Positions(): JSX.Element {
  const { query } = useScope();
  const polled = usePolled<Trades>("/timed/trades", { ...query, status: "open", limit: "1000" }, LIVE_SECONDS);
  return (
    <>
      <h1 class="visually-hidden">Open positions</h1>
      <Loaded of={polled} skeleton={<Loading />}>{(data) => <Grid data={data} />}</Loaded>
    </>
  );
}

function Loading(): JSX.Element {
  return (
    <>
      <div class="view-head"><Skeleton rows={1} /></div>
      <div class="position-grid loading" role="status"><span class="visually-hidden">Loading</span>{Array.from({ length: 10 }, (_, number) => <span key={number} class="bone" />)}</div>
    </>
  );
}

// How many of so many cards stand by now: the first ones at once, the others a few at a time, so that the page answers meanwhile.
function useGrowing(whole: number): number {
  const [count, setCount] = useState(AT_ONCE);
  useEffect(() => {
    if (count >= whole) return;
    const timer = setTimeout(() => setCount(count + AT_ONCE));
    return () => clearTimeout(timer);
  }, [count, whole]);
  return count;
}

function Grid({ data }: { data: Trades }): JSX.Element {
  const { books } = useScope();
  const [params, change] = useFilters();
  const side = SIDES.find((one) => one === params["direction"]) ?? "ALL";
  const sort = ORDERS[params["sort"] ?? ""] === undefined ? "entry" : (params["sort"] ?? "entry");
  const wanted = (params["ticker"] ?? "").trim().toUpperCase();
  const found = useMemo(() => data.trades.filter(({ ticker }) => ticker.toUpperCase().includes(wanted)), [data, wanted]);
  const counts = { ALL: found.length, LONG: found.filter(({ direction }) => direction === "LONG").length, SHORT: found.filter(({ direction }) => direction === "SHORT").length };
  const shown = useMemo(() => found.filter(({ direction }) => side === "ALL" || direction === side).sort(ORDERS[sort]?.order), [found, side, sort]);
  const count = useGrowing(shown.length);
  const withBook = books.length > 1 || books[0] === "all";
  const made = useMemo(() => new WeakMap<Trade, JSX.Element>(), [withBook]);
  return (
    <>
      <div class="view-head">
        <Toggle label="Direction" tabs={SIDES.map((key) => ({ key, title: key === "ALL" ? "All" : key, count: counts[key] }))} chosen={side} choose={(key) => change({ direction: key === "ALL" ? null : key })} />
        <div class="row">
          <label class="visually-hidden" for="ticker">Filter by ticker</label>
          <input id="ticker" data-filter type="search" class="position-filter" placeholder="Filter ticker  /" value={params["ticker"] ?? ""} onInput={(event) => change({ ticker: event.currentTarget.value })} autocomplete="off" spellcheck={false} />
          <label class="visually-hidden" for="sort">Sort by</label>
          <select id="sort" value={sort} onChange={(event) => change({ sort: event.currentTarget.value === "entry" ? null : event.currentTarget.value })}>
            {Object.entries(ORDERS).map(([key, { title }]) => <option key={key} value={key}>{title}</option>)}
          </select>
        </div>
      </div>
      <Totals trades={shown} />
      <Freshness ts={newest(data)} what="These positions" />
      {data.has_more && <p class="notice">Only the first {data.count} are shown; choose fewer books to see the others.</p>}
      {shown.length === 0 ? <Nothing isFiltered={data.trades.length > 0} /> : (
        <ul class="position-grid">
          {shown.slice(0, count).map((trade) => element(trade, withBook, made))}
        </ul>
      )}
    </>
  );
}

// The element of a trade that did not change is the one from before: what is the same object is not looked into again.
function element(trade: Trade, withBook: boolean, made: WeakMap<Trade, JSX.Element>): JSX.Element {
  const found = made.get(trade) ?? <li key={`${trade.book_id}/${trade.position_id}`}><PositionCard trade={trade} withBook={withBook} /></li>;
  made.set(trade, found);
  return found;
}

// The newest fact on the screen: an execution, or the price of one of the positions.
function newest(data: Trades): number | null {
  return data.trades.reduce<number | null>((found, { price_ts: ts }) => (ts !== null && (found === null || ts > found) ? ts : found), data.data_as_of_ts);
}

function Nothing({ isFiltered }: { isFiltered: boolean }): JSX.Element {
  if (isFiltered) return <Empty title="No open position fits the filter">Choose All or another ticker to see the others.</Empty>;
  return <Empty title="No open positions">A position stands here from its first entry to its exit; the book holds none now.</Empty>;
}

// One line per currency: sums of what is known, and how many are not.
const Totals = memo(function Totals({ trades }: { trades: readonly Trade[] }): JSX.Element {
  const currencies = [...new Set(trades.map(({ currency }) => currency))].sort();
  return (
    <div class="totals">
      {currencies.map((currency) => {
        const own = trades.filter((trade) => trade.currency === currency);
        const unpriced = own.filter(({ unrealized_pnl }) => unrealized_pnl === null).length;
        return (
          <dl key={currency} class="total" aria-label={`Total in ${currency}`}>
            <div><dt>{counted(own.length, "position")}</dt><dd>{currency}</dd></div>
            <div><dt>Unrealized</dt><dd><Money value={total(own.map((one) => one.unrealized_pnl))} currency={currency} pnl /></dd></div>
            <div><dt>Realized</dt><dd><Money value={total(own.map((one) => one.realized_pnl))} currency={currency} pnl /></dd></div>
            <div><dt>Cost basis</dt><dd><Money value={total(own.map((one) => one.cost_basis))} currency={currency} /></dd></div>
            {unpriced > 0 && <div><dt>Without price</dt><dd class="late">{unpriced}, not in the sum</dd></div>}
          </dl>
        );
      })}
    </div>
  );
});
