// History: the trades of a filter, and the same range by calendar, by day and by result. Every filter stands in the address.
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { useFilters } from "../lib/router.tsx";
import { Tabs, type Tab } from "../parts/Tabs.tsx";
import { ByDay } from "./history/ByDay.tsx";
import { ByResult } from "./history/ByResult.tsx";
import { Calendar } from "./history/Calendar.tsx";
import { Exports } from "./history/Exports.tsx";
import { FIELDS, filterOf, type Field } from "./history/filter.ts";
import { Filters } from "./history/Filters.tsx";
import { TradeList } from "./history/TradeList.tsx";
import "./history.css";

const TABS: readonly Tab[] = [
  { key: "trades", title: "Trades" },
  { key: "calendar", title: "Calendar" },
  { key: "days", title: "By day" },
  { key: "results", title: "By P&L" },
];
// what each tab can be narrowed by: calendar and days are sums over whole books, only what is closed has a result
const KNOWN: Readonly<Record<string, readonly Field[]>> = {
  trades: FIELDS,
  calendar: [],
  days: ["from", "to"],
  results: FIELDS.filter((field) => field !== "status"),
};
const PANEL = "history-panel";

export default function History(): JSX.Element {
  const [params, change] = useFilters();
  const filter = useMemo(() => filterOf(params), [params]);
  const tab = TABS.some(({ key }) => key === params["tab"]) ? (params["tab"] ?? "trades") : "trades";

  return (
    <div class="history-view">
      <div class="history-head">
        <h1>History</h1>
        <Exports filter={filter} />
      </div>
      <Tabs label="History" tabs={TABS} chosen={tab} choose={(key) => change({ tab: key === "trades" ? null : key })} panel={PANEL} />
      <Filters filter={filter} fields={KNOWN[tab] ?? FIELDS} change={change} />
      <div id={PANEL} role="tabpanel" aria-label={TABS.find(({ key }) => key === tab)?.title}>
        {tab === "trades" && <TradeList filter={filter} change={change} />}
        {tab === "calendar" && <Calendar month={params["month"]} chosen={params["day"]} change={change} />}
        {tab === "days" && <ByDay filter={filter} change={change} />}
        {tab === "results" && <ByResult filter={filter} />}
      </div>
    </div>
  );
}
