// A chart with a sentence that says what it shows and the same data as a table; what draws is loaded when the first chart is shown.
import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { NONE, percent, subtract, sign, type Decimal } from "../lib/decimal.ts";
import { usePrivacy } from "../lib/privacy.ts";
import { clock } from "../lib/time.ts";
import type { ChartCanvasProps } from "./ChartCanvas.tsx";
import { Money } from "./Money.tsx";
import { Price } from "./Price.tsx";
import { Skeleton } from "./Skeleton.tsx";
import { Table, type Column } from "./Table.tsx";

export interface Point {
  ts: number; // epoch milliseconds
  value: Decimal | null; // null: a gap, never a line across it
}

export interface Series {
  name: string;
  points: readonly Point[];
  colour?: `--tt-${string}`; // default --tt-info
  kind?: "line" | "area" | "steps";
}

export interface Marker {
  ts: number;
  text: string;
  shape: "arrowUp" | "arrowDown" | "circle" | "square";
  place: "aboveBar" | "belowBar" | "inBar";
  colour: `--tt-${string}`;
}

export interface ChartProps {
  label: string;
  summary: string; // one sentence: from where to where, lowest and highest
  series: readonly Series[];
  markers?: readonly Marker[];
  unit: "money" | "price" | "percent" | "number"; // money is hidden under privacy: the axis becomes percent of the first value
  currency?: string | null;
  withDays?: boolean; // points are days, not minutes
  class?: string;
}

const NONE_MARKED: readonly Marker[] = [];

type Canvas = (props: ChartCanvasProps) => JSX.Element;

export function Chart(props: ChartProps): JSX.Element {
  const { label, summary, series, markers = NONE_MARKED, unit, currency = null, withDays = false, class: own = "" } = props;
  const isHidden = usePrivacy() && unit === "money";
  const [asTable, setAsTable] = useState(false);
  const [Drawn, setDrawn] = useState<Canvas | null>(null);
  useEffect(() => {
    let isHere = true;
    void import("./ChartCanvas.tsx").then(({ ChartCanvas }) => isHere && setDrawn(() => ChartCanvas));
    return () => {
      isHere = false;
    };
  }, []);
  const shown = useMemo(() => (isHidden ? series.map(relative) : series), [series, isHidden]);
  return (
    <figure class={`chart ${own}`} aria-label={label}>
      {asTable ? (
        <ChartTable label={label} series={shown} markers={markers} unit={isHidden ? "percent" : unit} currency={currency} withDays={withDays} />
      ) : Drawn === null ? (
        <Skeleton kind="chart" rows={1} />
      ) : (
        <Drawn series={shown} markers={markers} asPercent={isHidden || unit === "percent"} withDays={withDays} decimals={unit === "price" ? 4 : 2} />
      )}
      <figcaption class="chart-caption">
        <span>{isHidden ? `${label}, in percent of its first value` : summary}</span>
        <button type="button" class="button quiet small" aria-pressed={asTable} onClick={() => setAsTable(!asTable)}>
          {asTable ? "Show as chart" : "Show as table"}
        </button>
      </figcaption>
    </figure>
  );
}

// Under privacy: each point as percent of the first known one, good enough to see the form and nothing else.
function relative(series: Series): Series {
  const first = series.points.find(({ value }) => value !== null && sign(value) !== 0)?.value ?? null;
  const points = series.points.map(({ ts, value }) => ({
    ts,
    value: value === null || first === null ? null : ((Number(subtract(value, first)) / Math.abs(Number(first))) * 100).toFixed(2),
  }));
  return { ...series, points };
}

type Row = { ts: number; values: readonly (Decimal | null)[] };

interface ChartTableProps extends Required<Pick<ChartProps, "label" | "series" | "markers" | "unit" | "currency" | "withDays">> {}

function ChartTable({ label, series, markers, unit, currency, withDays }: ChartTableProps): JSX.Element {
  const rows = new Map<number, (Decimal | null)[]>();
  series.forEach(({ points }, number) => {
    for (const { ts, value } of points) {
      const values = rows.get(ts) ?? series.map(() => null);
      values[number] = value;
      rows.set(ts, values);
    }
  });
  const sorted: Row[] = [...rows].sort(([a], [b]) => b - a).map(([ts, values]) => ({ ts, values }));
  const columns: Column<Row>[] = [
    { key: "ts", title: "Time", heading: true, cell: ({ ts }) => clock(ts, { date: true, seconds: false, zone: !withDays }) },
    ...series.map(({ name }, number): Column<Row> => ({ key: name, title: name, numeric: true, cell: ({ values }) => shownValue(values[number] ?? null, unit, currency) })),
  ];
  if (markers.length > 0) columns.push({ key: "marked", title: "Marked", cell: ({ ts }) => markers.filter((marker) => marker.ts === ts).map(({ text }) => text).join(", ") });
  return <Table caption={label} columns={columns} rows={sorted} rowKey={({ ts }) => String(ts)} />;
}

function shownValue(value: Decimal | null, unit: ChartProps["unit"], currency: string | null): JSX.Element | string {
  if (value === null) return NONE;
  if (unit === "money") return <Money value={value} currency={currency} />;
  return unit === "percent" ? percent(value) : <Price value={value} />;
}
