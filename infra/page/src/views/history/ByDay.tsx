// The range day by day, the newest first, and what the days add up to: the summary of the same range says it again.
import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { Group, Results, Summary } from "../../api/types.ts";
import { useScope } from "../../lib/books.ts";
import { usePolled } from "../../lib/poll.ts";
import { dayOf, dayWords, deskNow } from "../../lib/time.ts";
import { Empty } from "../../parts/Empty.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { arrow, Money } from "../../parts/Money.tsx";
import { Percent } from "../../parts/Percent.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import { Toggle } from "../../parts/Tabs.tsx";
import { asked, type Filter } from "./filter.ts";
import type { Change } from "./Filters.tsx";
import { daysLater } from "./month.ts";

const USUAL_DAYS = 30;

interface Props {
  filter: Filter;
  change: Change;
}

export function ByDay({ filter, change }: Props): JSX.Element {
  const { query } = useScope();
  const [isByWeekday, setByWeekday] = useState(false);
  const range = useMemo(() => {
    const { from = filter.to === undefined ? daysLater(dayOf(deskNow()), -USUAL_DAYS) : undefined, to } = filter;
    return { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
  }, [filter]);
  const answer = usePolled<Summary>("/timed/ledger/summary", { ...query, ...asked(range), group_by: isByWeekday ? "weekday" : "day" });
  return (
    <div class="stack">
      <div class="row">
        <Toggle label="Group" tabs={[{ key: "day", title: "Days" }, { key: "weekday", title: "Weekdays" }]} chosen={isByWeekday ? "weekday" : "day"} choose={(key) => setByWeekday(key === "weekday")} />
        {filter.from === undefined && filter.to === undefined && <p class="hint">The last {USUAL_DAYS} days; choose a range for others.</p>}
      </div>
      <Loaded of={answer} skeleton={<Skeleton kind="table" rows={8} />}>
        {({ groups, totals }) =>
          groups.length === 0 ? (
            <Empty title="Nothing was executed in this range">Each trading day with its results would stand here.</Empty>
          ) : (
            <Table
              caption={isByWeekday ? "Results by weekday" : "Results by trading day, newest first"}
              columns={columns(isByWeekday, totals.length > 1, change)}
              rows={isByWeekday ? groups : [...groups].reverse()}
              rowKey={({ key, currency }) => `${key}/${currency}`}
              foot={totals.map((one) => <Foot key={one.currency} totals={one} hasCurrency={totals.length > 1} />)}
            />
          )
        }
      </Loaded>
    </div>
  );
}

function Result({ of }: { of: Results }): JSX.Element {
  return <>{of.realized_pnl !== null && <span class="arrow" aria-hidden="true">{arrow(of.realized_pnl)} </span>}<Money value={of.realized_pnl} currency={of.currency} pnl /></>;
}

const COUNTS: readonly (readonly [string, (of: Results) => number])[] = [
  ["Entries", ({ entries }) => entries],
  ["Adds", ({ adds }) => adds],
  ["Trims", ({ trims }) => trims],
  ["Exits", ({ exits }) => exits],
  ["Wins", ({ wins }) => wins],
  ["Losses", ({ losses }) => losses],
  ["Flats", ({ flats }) => flats],
];

function columns(isByWeekday: boolean, hasCurrency: boolean, change: Change): readonly Column<Group>[] {
  const name = (key: string | null): JSX.Element | string => {
    if (key === null) return "no day";
    if (isByWeekday) return key.charAt(0).toUpperCase() + key.slice(1);
    return <button type="button" class="text-link" onClick={() => change({ tab: null, from: key, to: key })}>{dayWords(key)}</button>;
  };
  return [
    { key: "key", title: isByWeekday ? "Weekday" : "Trading day", heading: true, cell: ({ key }) => name(key) },
    ...(hasCurrency ? [{ key: "currency", title: "Currency", cell: ({ currency }: Group) => currency }] : []),
    { key: "pnl", title: "Realized P&L", numeric: true, cell: (group) => <Result of={group} /> },
    { key: "fees", title: "Fees", numeric: true, cell: ({ fees, currency }) => <Money value={fees} currency={currency} /> },
    ...COUNTS.map(([title, read]): Column<Group> => ({ key: title, title, numeric: true, cell: read })),
    { key: "rate", title: "Win rate", numeric: true, cell: ({ win_rate_percent }) => <Percent value={win_rate_percent} missing="nothing won or lost" /> },
  ];
}

function Foot({ totals, hasCurrency }: { totals: Results; hasCurrency: boolean }): JSX.Element {
  return (
    <tr role="row">
      <th role="rowheader" scope="row" data-label="">Range</th>
      {hasCurrency && <td role="cell" data-label="Currency">{totals.currency}</td>}
      <td role="cell" class="numeric" data-label="Realized P&L"><Result of={totals} /></td>
      <td role="cell" class="numeric" data-label="Fees"><Money value={totals.fees} currency={totals.currency} /></td>
      {COUNTS.map(([title, read]) => <td key={title} role="cell" class="numeric" data-label={title}>{read(totals)}</td>)}
      <td role="cell" class="numeric" data-label="Win rate"><Percent value={totals.win_rate_percent} missing="nothing won or lost" /></td>
    </tr>
  );
}
