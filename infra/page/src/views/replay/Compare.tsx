// Two runs, or a run and the live book, side by side: where they part, totals, both curves on one chart, the trades that differ.
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { money } from "../../lib/decimal.ts";
import { usePolled } from "../../lib/poll.ts";
import { Action } from "../../parts/Action.tsx";
import { Age } from "../../parts/Age.tsx";
import { Chart, type Series } from "../../parts/Chart.tsx";
import { Empty } from "../../parts/Empty.tsx";
import { ErrorBox } from "../../parts/ErrorBox.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { Pill } from "../../parts/Pill.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";
import { First } from "./First.tsx";
import { TotalsTable, TradePairs } from "./Pairs.tsx";
import type { Comparison, Portfolio, Side } from "./types.ts";

const HINTS = { 409: "A side has no bucket behind it yet.", 502: "replay_worker does not answer." };

interface Props {
  left: string;
  right: string;
  isAdmin: boolean;
}

// The last stored comparison of the two; with an admin key they can be compared now.
export function Compare({ left, right, isAdmin }: Props): JSX.Element {
  const found = usePolled<Comparison>("/timed/replay/compare", { left, right });
  const button = isAdmin ? (
    <Action label={found.data === null ? "Compare now" : "Compare again"} path="/timed/admin/replay-compare" body={() => ({ left, right })} done="Compared." onDone={found.refresh} hints={HINTS} />
  ) : null;
  if (found.error?.code === "not_compared") {
    return (
      <div class="stack">
        <Empty title="Not compared yet">{isAdmin ? "Compare them: the result is kept, and can be read with any key." : "Comparing takes an admin key; the result can then be read with this one."}</Empty>
        {button}
      </div>
    );
  }
  if (found.error !== null && found.data === null) return <ErrorBox error={found.error} retry={found.refresh} />;
  return (
    <Loaded of={found} skeleton={<Skeleton kind="table" rows={6} />}>
      {(answer) => (
        <div class="stack">
          <div class="sides">
            <Named letter="A" side={answer.left} />
            <Named letter="B" side={answer.right} />
            <p>
              <Pill tone={answer.identical ? "gain" : "warning"}>{answer.identical ? "identical" : `${answer.divergent} of ${answer.tickers} tickers differ`}</Pill>{" "}
              <span class="hint">compared <Age ts={answer.compared_ts} />{answer.date === null ? "" : `, ${answer.date} alone`}</span>
            </p>
            {button}
          </div>
          {answer.first_divergence !== null && <First of={answer.first_divergence} />}
          <div class="beside">
            <TotalsTable of={answer} />
            <Curves left={answer.left} right={answer.right} />
          </div>
          <TradePairs of={answer} />
        </div>
      )}
    </Loaded>
  );
}

function Named({ letter, side }: { letter: string; side: Side }): JSX.Element {
  const isLive = side.label === "live";
  return (
    <p>
      <strong class={`side-letter ${letter.toLowerCase()}`}>{letter}</strong> {isLive ? "live" : <>{side.name ?? side.label.slice(0, 8)} · {side.profile} <span class="replay-label">REPLAY</span></>}
    </p>
  );
}

function Curves({ left, right }: { left: Side; right: Side }): JSX.Element | null {
  const a = usePolled<Portfolio>("/timed/portfolio", { books: left.book_id, range: "1d" });
  const b = usePolled<Portfolio>("/timed/portfolio", { books: right.book_id, range: "1d" });
  const series = useMemo(() => [curve("A", a.data, "--tt-info"), curve("B", b.data, "--tt-warning")].filter((one) => one !== null), [a.data, b.data]);
  const missing = [["A", a], ["B", b]] as const;
  return (
    <div class="stack">
      {series.length > 0 && <Chart label="Equity of A and B" summary={series.map(ends).join(" ")} series={series} unit="money" currency={series[0]?.currency ?? null} />}
      {missing.map(([name, { error, data }]) => error !== null && <p key={name} class="notice">The equity of {name} cannot be read: {error.status} {error.code}.{data !== null && " An earlier answer is shown."}</p>)}
      {series.length === 0 && a.data !== null && b.data !== null && <p class="hint">Neither side has a priced moment, so there is no curve.</p>}
    </div>
  );
}

interface Curve extends Series {
  currency: string;
}

function curve(name: string, of: Portfolio | null, colour: `--tt-${string}`): Curve | null {
  const currency = of?.curve[0]?.currency;
  if (of === null || currency === undefined) return null;
  return { name, colour, currency, points: of.curve.map(({ ts, equity }) => ({ ts, value: equity })) };
}

function ends({ name, points, currency }: Curve): string {
  const last = points.at(-1)?.value ?? null;
  return `${name} ends at ${last === null ? "an unknown value" : money(last, currency)}.`;
}
