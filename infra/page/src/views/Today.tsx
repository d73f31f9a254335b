// Today: what the account is worth, how it went, what was done, and everything that happened, newest first.
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import type { Portfolio, Results, Summary, Worth } from "../api/types.ts";
import type { Session } from "../api/types.ts";
import { useDesk } from "../frame/desk.ts";
import { useScope } from "../lib/books.ts";
import { absolute, bounds, money, percent, sign, subtract, type Decimal } from "../lib/decimal.ts";
import { LIVE_SECONDS, usePolled, type Polled } from "../lib/poll.ts";
import { useFilters } from "../lib/router.tsx";
import { clock, dayOf, dayWords, deskNow } from "../lib/time.ts";
import { Card } from "../parts/Card.tsx";
import { Chart, type Point } from "../parts/Chart.tsx";
import { Empty } from "../parts/Empty.tsx";
import { Freshness } from "../parts/Freshness.tsx";
import { Loaded } from "../parts/Loaded.tsx";
import { arrow, Money, upDown } from "../parts/Money.tsx";
import { Percent } from "../parts/Percent.tsx";
import { Skeleton } from "../parts/Skeleton.tsx";
import { Toggle } from "../parts/Tabs.tsx";
import { TimeLine } from "./TimeLine.tsx";
import "./today.css";

const RANGES = ["1d", "5d", "30d", "90d", "1y"] as const;

// The trading day on the screen: the session under way, else the one that ended last; of a past moment its own day.
export function tradingDay(desk: Session | null, asOf: string | null): string | null {
  if (asOf !== null) return dayOf(Date.parse(asOf));
  if (desk === null) return null;
  const { today, last } = desk.exchange;
  return today !== null && deskNow() >= today.open_ts ? today.date : last.date;
}

export default function Today(): JSX.Element {
  const { query, asOf } = useScope();
  const [params, change] = useFilters();
  const range = RANGES.find((one) => one === params["range"]) ?? "1d";
  const portfolio = usePolled<Portfolio>("/timed/portfolio", { ...query, range, points: "1000" }, LIVE_SECONDS);
  const day = tradingDay(useDesk(), asOf);
  const summary = usePolled<Summary>(day === null ? null : "/timed/ledger/summary", { ...query, since: day }, LIVE_SECONDS);
  return (
    <div class="today">
      <h1 class="visually-hidden">Today</h1>
      <div class="today-main stack">
        <Loaded of={portfolio} skeleton={<AccountBones />}>{(data) => <Account data={data} />}</Loaded>
        <Card title="Equity" actions={<Toggle label="Range" tabs={RANGES.map((key) => ({ key, title: key.toUpperCase() }))} chosen={range} choose={(key) => change({ range: key === "1d" ? null : key })} />}>
          {portfolio.data === null && portfolio.error !== null ? (
            <Empty title="No curve">The account could not be read; see above.</Empty>
          ) : (
            <Loaded of={portfolio} skeleton={<Skeleton kind="chart" rows={1} />} quiet>{(data) => <Curves data={data} range={range} />}</Loaded>
          )}
        </Card>
      </div>
      <div class="today-side stack">
        <DaySummary polled={summary} day={day} />
        <TimeLine />
      </div>
    </div>
  );
}

function AccountBones(): JSX.Element {
  return <section class="card account-card bones"><Skeleton rows={4} /></section>;
}

function Account({ data }: { data: Portfolio }): JSX.Element {
  if (data.totals.length === 0) {
    return <Empty title="No account yet">Equity, cash and exposure stand here from the first execution on.</Empty>;
  }
  return (
    <>
      <Freshness ts={Math.max(data.data_as_of_ts ?? 0, ...data.curve.map(({ ts }) => ts))} what="The account's figures" />
      {data.totals.map((worth) => <AccountCard key={worth.currency} worth={worth} date={data.date} />)}
    </>
  );
}

function AccountCard({ worth, date }: { worth: Worth; date: string }): JSX.Element {
  const { currency, day_pnl: day, missing_marks: missing } = worth;
  const why = missing.length > 0 ? `no price for ${missing.join(", ")}` : "not known";
  return (
    <section class="card account-card" aria-label={`Account in ${currency}`}>
      <div class="account-lead">
        <div>
          <p class="label">Equity <span class="hint">· {currency}</span></p>
          <p class="account-equity"><Money value={worth.equity} currency={currency} missing={why} /></p>
        </div>
        <div>
          <p class="label">Day P&amp;L <span class="hint">· {dayWords(date, false)}</span></p>
          <p class="account-day">
            <Money value={day} currency={currency} pnl missing={why} />
            {day !== null && (
              <span class={`account-day-word ${["loss", "flat", "gain"][sign(day) + 1]}`}>
                <span class="arrow" aria-hidden="true">{arrow(day)}</span> {upDown(day)} <Percent value={worth.day_return_percent} signed />
              </span>
            )}
          </p>
        </div>
      </div>
      <dl class="figures">
        <Figure title="Unrealized"><Money value={worth.unrealized_pnl} currency={currency} pnl missing={why} /></Figure>
        <Figure title="Realized, all days"><Money value={worth.realized_pnl} currency={currency} pnl /></Figure>
        <Figure title="Cash"><Money value={worth.cash} currency={currency} /></Figure>
        <Figure title="Gross exposure"><Money value={worth.gross_exposure} currency={currency} missing={why} /></Figure>
        <Figure title="Net exposure"><Money value={worth.net_exposure} currency={currency} missing={why} /></Figure>
        <Figure title="Open positions"><span class="num">{worth.open_positions}</span></Figure>
      </dl>
      {missing.length > 0 && <p class="notice"><strong>Without a price:</strong> {missing.join(", ")}; what depends on them is not known.</p>}
    </section>
  );
}

function Figure({ title, children }: { title: string; children: JSX.Element }): JSX.Element {
  return <div><dt>{title}</dt><dd>{children}</dd></div>;
}

function Curves({ data, range }: { data: Portfolio; range: string }): JSX.Element {
  const currencies = useMemo(() => [...new Set(data.curve.map(({ currency }) => currency))], [data.curve]);
  if (currencies.length === 0) {
    return <Empty title="No curve yet">{range === "1d" ? "The session's minutes stand here from its first one on." : "No session of this range has a close yet."}</Empty>;
  }
  return <>{currencies.map((currency) => <Curve key={currency} data={data} currency={currency} range={range} />)}</>;
}

function Curve({ data, currency, range }: { data: Portfolio; currency: string; range: string }): JSX.Element {
  const points = useMemo(() => data.curve.filter((one) => one.currency === currency).map(({ ts, equity }): Point => ({ ts, value: equity })), [data.curve, currency]);
  const series = useMemo(() => [{ name: `Equity in ${currency}`, points, kind: "area" as const }], [points, currency]);
  return <Chart label={`Equity in ${currency}, ${range.toUpperCase()}`} summary={told(points, currency, range)} series={series} unit="money" currency={currency} withDays={range !== "1d"} />;
}

// "From $100,000.00 (09:31 EST) to $100,222.50 (15:59 EST): up 0.22 %; lowest …, highest …"
function told(points: readonly Point[], currency: string, range: string): string {
  const known = points.filter((one): one is { ts: number; value: Decimal } => one.value !== null);
  const [first, last] = [known[0], known.at(-1)];
  if (first === undefined || last === undefined) return "No point of this range is known.";
  const at = (ts: number): string => (range === "1d" ? clock(ts, { seconds: false }) : dayWords(dayOf(ts), false));
  const [low, high] = bounds(known.map(({ value }) => value));
  const change = subtract(last.value, first.value);
  return `From ${money(first.value, currency)} (${at(first.ts)}) to ${money(last.value, currency)} (${at(last.ts)}), ${sign(change) === 0 ? "flat" : `${upDown(change)} ${money(absolute(change), currency)}`}; lowest ${money(low, currency)}, highest ${money(high, currency)}.`;
}

function DaySummary({ polled, day }: { polled: Polled<Summary>; day: string | null }): JSX.Element {
  return (
    <Card title="The day" hint={day === null ? undefined : dayWords(day)}>
      <Loaded of={polled} skeleton={<Skeleton rows={4} />}>
        {(data) => (data.totals.length === 0 ? <Empty title="Nothing was executed yet">The day's executions are counted here.</Empty> : <>{data.totals.map((one) => <DayResults key={one.currency} of={one} />)}</>)}
      </Loaded>
    </Card>
  );
}

function DayResults({ of }: { of: Results }): JSX.Element {
  return (
    <div class="day-results">
      <dl class="day-counts">
        <Figure title="Entries"><span class="num">{of.entries}</span></Figure>
        <Figure title="Adds"><span class="num">{of.adds}</span></Figure>
        <Figure title="Trims"><span class="num">{of.trims}</span></Figure>
        <Figure title="Exits"><span class="num">{of.exits}</span></Figure>
      </dl>
      <dl class="day-money">
        <Figure title="Realized"><Money value={of.realized_pnl} currency={of.currency} pnl /></Figure>
        <Figure title="Fees"><Money value={of.fees} currency={of.currency} /></Figure>
        <Figure title="Won · lost · flat"><span class="num"><span class="gain">{of.wins} W</span> · <span class="loss">{of.losses} L</span> · <span class="flat">{of.flats} F</span></span></Figure>
        <Figure title="Win rate">{of.win_rate_percent === null ? <span class="unknown" title="nothing was won or lost">—</span> : <span class="num">{percent(of.win_rate_percent)}</span>}</Figure>
      </dl>
      {of.pending > 0 && <p class="hint">{of.pending} closed without a known result yet.</p>}
    </div>
  );
}
