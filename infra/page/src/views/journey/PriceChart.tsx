// The ticker's price while the position was held, from marks, with each execution where and when it happened.
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import type { Execution, Mark, Marks, Trade } from "../../api/types.ts";
import { useScope } from "../../lib/books.ts";
import { bounds, formatted, type Decimal } from "../../lib/decimal.ts";
import { usePolled } from "../../lib/poll.ts";
import { clock } from "../../lib/time.ts";
import { Card } from "../../parts/Card.tsx";
import { Chart, type Marker, type Point } from "../../parts/Chart.tsx";
import { ErrorBox } from "../../parts/ErrorBox.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";

const BEFORE_MS = 30 * 60_000;
const AFTER_MS = 60 * 60_000;
const WORDS = { ENTRY: "entry", ADD_ENTRY: "add", TRIM: "trim", EXIT: "exit" } as const;
const COLOURS = { ENTRY: "--tt-info", ADD_ENTRY: "--tt-info", TRIM: "--tt-warning", EXIT: "--tt-text" } as const;

interface Props {
  trade: Trade;
  actions: readonly Execution[];
}

export function PriceChart({ trade, actions }: Props): JSX.Element {
  const { asOf } = useScope();
  const since = String(trade.first_entry_ts - BEFORE_MS);
  const until = trade.status === "CLOSED" ? String(trade.last_action_ts + AFTER_MS) : asOf;
  const marks = usePolled<Marks>(`/timed/marks/${encodeURIComponent(trade.instrument)}`, { books: trade.book_id, since, until });
  const points = useMemo(() => merged(marks.data?.points ?? [], actions), [marks.data, actions]);
  const markers = useMemo(() => actions.map((action) => marker(action, trade.direction)), [actions, trade.direction]);
  const series = useMemo(() => [{ name: "Price", points }], [points]);
  const told = useMemo(() => summary(trade, points, actions), [trade, points, actions]);
  const isPartial = marks.data?.has_more === true;
  return (
    <Card title="Price and executions" class="journey-chart" hint={isPartial ? "The newest 5,000 marks of the span are drawn." : undefined}>
      {marks.error !== null && <ErrorBox error={marks.error} retry={marks.refresh} compact shown={marks.data === null ? "Only the executions' own prices are drawn." : "The last marks stay."} />}
      {marks.data === null && marks.error === null ? (
        <Skeleton kind="chart" rows={1} />
      ) : (
        <>
          <Chart label={`Price of ${trade.ticker}`} summary={told} series={series} markers={markers} unit="price" currency={trade.currency} />
          {marks.data?.points.length === 0 && <p class="hint">No mark was recorded in this span: the line joins the executions' own prices.</p>}
        </>
      )}
    </Card>
  );
}

// marks, and the executions' own prices among them, so that every marker stands on the line
function merged(marks: readonly Mark[], actions: readonly Execution[]): Point[] {
  const found: Point[] = marks.map(({ ts, price }) => ({ ts, value: price }));
  for (const { ts, price } of actions) found.push({ ts, value: price });
  return found.sort((a, b) => a.ts - b.ts);
}

function marker({ ts, action_type }: Execution, direction: "LONG" | "SHORT"): Marker {
  const opens = action_type === "ENTRY" || action_type === "ADD_ENTRY";
  const buys = opens === (direction === "LONG");
  return {
    ts,
    text: WORDS[action_type].toUpperCase(),
    shape: buys ? "arrowUp" : "arrowDown",
    place: buys ? "belowBar" : "aboveBar",
    colour: COLOURS[action_type],
  };
}

function summary(trade: Trade, points: readonly Point[], actions: readonly Execution[]): string {
  const known = points.filter((point): point is { ts: number; value: Decimal } => point.value !== null);
  const [first, last] = [known[0], known.at(-1)];
  if (first === undefined || last === undefined) return `No price of ${trade.ticker} is known.`;
  const [low, high] = bounds(known.map(({ value }) => value));
  const price = (text: Decimal): string => formatted(text, { least: 2, most: 4 });
  const counts = Object.entries(WORDS)
    .map(([type, word]) => [actions.filter(({ action_type }) => action_type === type).length, word] as const)
    .filter(([count]) => count > 0)
    .map(([count, word]) => `${count} ${count === 1 ? word : word === "entry" ? "entries" : `${word}s`}`);
  const at = (ts: number): string => clock(ts, { date: true, seconds: false });
  return `${trade.ticker} went from ${price(first.value)} at ${at(first.ts)} to ${price(last.value)} at ${at(last.ts)}, between ${price(low)} and ${price(high)}, with ${counts.join(", ")}.`;
}
