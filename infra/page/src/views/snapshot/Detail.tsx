// One figure of the day: its course, minute by minute, and the trades that stand highest and lowest in it.
import type { JSX } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { bounds, money, percent, formatted, type Decimal } from "../../lib/decimal.ts";
import { usePolled } from "../../lib/poll.ts";
import { clock } from "../../lib/time.ts";
import { Chart, type ChartProps, type Point } from "../../parts/Chart.tsx";
import { heading, numeric } from "../../parts/columns.ts";
import { Empty } from "../../parts/Empty.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { Money } from "../../parts/Money.tsx";
import { Percent } from "../../parts/Percent.tsx";
import { Price } from "../../parts/Price.tsx";
import { Qty } from "../../parts/Qty.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import type { Extreme, Extremes, Kpi, Series } from "./types.ts";

interface Props {
  date: string;
  kpi: Kpi;
  close: () => void;
}

const SIDES = [["hi", "Highest"], ["lo", "Lowest"]] as const;

// The panel below the cards; it takes the focus when it is opened, so that a keyboard goes on there.
export function Detail({ date, kpi, close }: Props): JSX.Element {
  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => title.current?.focus({ preventScroll: true }), [kpi.kpi]);
  const series = usePolled<Series>("/timed/snapshot/series", { date, kpi: kpi.kpi });
  const extremes = usePolled<Extremes>("/timed/snapshot/extremes", { date, kpi: kpi.kpi });
  const leave = (): void => {
    document.querySelector<HTMLElement>(".kpi[aria-expanded='true']")?.focus({ preventScroll: true });
    close();
  };
  return (
    <section id="kpi-detail" class="panel" aria-labelledby="kpi-title" onKeyDown={(event) => event.key === "Escape" && leave()}>
      <header class="card-head">
        <h3 id="kpi-title" ref={title} tabIndex={-1}>{kpi.kpi} <span class="hint">on {date}</span></h3>
        <button type="button" class="button small" onClick={leave}>Close</button>
      </header>
      <div class="stack">
        <Loaded of={series} skeleton={<Skeleton kind="chart" rows={1} />}>
          {(answer) => (answer.points.length === 0 ? <Empty title="No course">This figure is published once a day, or nothing of its course was known on that day.</Empty> : <Course kpi={kpi} date={date} points={answer.points} />)}
        </Loaded>
        <Loaded of={extremes} skeleton={<Skeleton kind="table" rows={4} />}>
          {(answer) =>
            answer.items.length === 0 ? (
              <p class="hint">No trades are ranked by this figure.</p>
            ) : (
              <div class="extremes">
                {SIDES.map(([side, words]) => (
                  <div key={side}>
                    <Table caption={`${words} by ${kpi.kpi}`} showCaption columns={columns(kpi, answer.currency)} rows={answer.items.filter((one) => one.side === side)} rowKey={(one) => `${one.side} ${one.rank}`} />
                  </div>
                ))}
              </div>
            )
          }
        </Loaded>
      </div>
    </section>
  );
}

const UNITS: Readonly<Record<string, ChartProps["unit"]>> = { currency: "money", percent: "percent" };

function Course({ kpi, date, points }: { kpi: Kpi; date: string; points: readonly Point[] }): JSX.Element {
  const series = useMemo(() => [{ name: kpi.kpi, points }], [kpi.kpi, points]);
  return <Chart label={`${kpi.kpi} on ${date}`} summary={summary(kpi, points)} series={series} unit={UNITS[kpi.kind] ?? "number"} currency={kpi.kind === "currency" ? kpi.unit : null} />;
}

function words(kpi: Kpi, value: Decimal): string {
  if (kpi.kind === "currency") return money(value, kpi.unit);
  return kpi.kind === "percent" ? percent(value) : formatted(value, { most: 4 });
}

// From where to where, and how high and low: what the chart shows, in one sentence.
function summary(kpi: Kpi, points: readonly Point[]): string {
  const known = points.flatMap(({ ts, value }) => (value === null ? [] : [{ ts, value }]));
  const [first, last] = [known[0], known.at(-1)];
  if (first === undefined || last === undefined) return "Nothing is known of its course.";
  const [low, high] = bounds(known.map(({ value }) => value));
  const at = (ts: number): string => clock(ts, { seconds: false });
  return `${words(kpi, first.value)} at ${at(first.ts)}, ${words(kpi, last.value)} at ${at(last.ts)}; between ${words(kpi, low)} and ${words(kpi, high)}.`;
}

function columns(kpi: Kpi, currency: string): Column<Extreme>[] {
  return [
    heading("Trade", (one) => <span><span class="rank">{one.rank}</span> {one.contract_name}</span>),
    numeric(kpi.kpi, (one) => <Metric value={one.metric_raw} kpi={kpi} currency={currency} />),
    numeric("P&L", (one) => <Money value={one.individual_pnl} currency={currency} pnl />),
    numeric("Price change", (one) => <Percent value={one.change_percent} signed />),
    numeric("Quantity", (one) => <Qty value={one.qty} />),
    numeric("Cost basis", (one) => <Money value={one.cost_basis} currency={currency} />),
    numeric("Middle price", (one) => <Price value={one.mid_price} missing="bid or ask is not known" />),
  ];
}

function Metric({ value, kpi, currency }: { value: Decimal | null; kpi: Kpi; currency: string }): JSX.Element {
  if (kpi.kind === "currency") return <Money value={value} currency={currency} pnl />;
  return kpi.kind === "percent" ? <Percent value={value} signed /> : <Price value={value} missing="not known" />;
}
