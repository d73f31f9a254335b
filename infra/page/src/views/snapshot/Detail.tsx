// One figure of the day: its course, minute by minute, and the trades that stand highest and lowest in it.

import { useEffect, useRef } from "preact/hooks";
import { Chart, Empty, Loaded, Money, Percent, Qty, Rows, Signed, Skeleton, usePolled, type Column } from "../kit";
import type { Extreme, Kpi, Point } from "./types";

interface Given {
  date: string;
  kpi: Kpi;
  onClose: () => void;
}

/** The panel below the cards; it takes the focus when it is opened, so that a keyboard goes on there. */
export function Detail({ date, kpi, onClose }: Given) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), [kpi.kpi]);
  const series = usePolled<{ points: Point[] }>("/timed/snapshot/series", { date, kpi: kpi.kpi }, 30);
  const hi = usePolled<{ items: Extreme[] }>("/timed/snapshot/extremes", { date, kpi: kpi.kpi, side: "hi" }, 30);
  const lo = usePolled<{ items: Extreme[] }>("/timed/snapshot/extremes", { date, kpi: kpi.kpi, side: "lo" }, 30);
  return (
    <section id="kpi-detail" class="panel" aria-labelledby="kpi-title">
      <header>
        <h3 id="kpi-title" ref={heading} tabIndex={-1}>{kpi.kpi}</h3>
        <button type="button" onClick={onClose}>Close</button>
      </header>
      <Loaded of={series} what="the course of the day" skeleton={<Skeleton kind="chart" />}>
        {(answer) =>
          answer.points.length === 0 ? (
            <Empty title="No course" hint="This figure is published once a day, or nothing of its course was known that day." />
          ) : (
            <Chart
              title={`${kpi.kpi} on ${date}`}
              lines={[{ name: kpi.kpi, points: answer.points.map((one) => ({ ts: one.ts, value: one.value })) }]}
              isMoney={kpi.kind === "currency"}
              unit={kpi.unit}
            />
          )
        }
      </Loaded>
      <div class="extremes">
        {([["Highest", hi], ["Lowest", lo]] as const).map(([title, side]) => (
          <div key={title}>
            <h4>{title}</h4>
            <Loaded of={side} what={`the ${title.toLowerCase()} trades`} skeleton={<Skeleton kind="lines" />}>
              {(answer) =>
                answer.items.length === 0 ? (
                  <p class="hint">No trades are ranked by this figure.</p>
                ) : (
                  <Rows caption={`${title} trades by ${kpi.kpi}`} columns={columns(kpi)} rows={answer.items} keyOf={(one) => String(one.rank)} />
                )
              }
            </Loaded>
          </div>
        ))}
      </div>
    </section>
  );
}

function columns(kpi: Kpi): Column<Extreme>[] {
  return [
    { label: "Trade", kind: "head", cell: (one) => <><b class="rank">{one.rank}</b> {one.contract_name}</> },
    { label: kpi.kpi, kind: "number", cell: (one) => <Metric text={one.metric_raw} kpi={kpi} /> },
    { label: "P&L", kind: "number", cell: (one) => <Signed text={one.individual_pnl} /> },
    { label: "Change", kind: "number", cell: (one) => <Percent text={one.percent_change} /> },
    { label: "Quantity", kind: "number", cell: (one) => <Qty text={one.qty} /> },
    { label: "Cost basis", kind: "number", cell: (one) => <Money text={one.cost_basis} /> },
    { label: "Middle price", kind: "number", cell: (one) => <Money text={one.mid_price} /> },
  ];
}

function Metric({ text, kpi }: { text: string | null; kpi: Kpi }) {
  if (kpi.kind === "currency") return <Signed text={text} />;
  return kpi.kind === "percent" ? <Percent text={text} /> : <Qty text={text} />;
}
