// A month as a heat map: a day's colour says how strong it was; its mark, figure and words say the same without colour. Weeks end in
// their totals. Arrow keys walk through the days, PageUp and PageDown through the months; a day opens its trades.
import type { JSX, TargetedKeyboardEvent } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Calendar as Answer, Day, Week } from "../../api/types.ts";
import { useScope } from "../../lib/books.ts";
import { absolute, compare, money, sign, total, type Decimal } from "../../lib/decimal.ts";
import { usePolled } from "../../lib/poll.ts";
import { usePrivacy } from "../../lib/privacy.ts";
import { dayOf, deskNow } from "../../lib/time.ts";
import { Loaded } from "../../parts/Loaded.tsx";
import { arrow, Money, moneyWords } from "../../parts/Money.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";
import { Toggle } from "../../parts/Tabs.tsx";
import { counted } from "../../parts/words.ts";
import { useIsNarrow } from "../narrow.ts";
import type { Change } from "./Filters.tsx";
import { dayName, daysLater, dayStep, isDate, isMonth, monthName, monthsLater, SATURDAY, strength, weekday, WEEKDAYS, weeksOf } from "./month.ts";

interface Props {
  month: string | undefined;
  chosen: string | undefined; // the day that holds the calendar's one tab stop
  change: Change;
}

export function Calendar({ month: asked, chosen, change }: Props): JSX.Element {
  const { query } = useScope();
  const today = dayOf(deskNow());
  const month = isMonth(asked) ? asked : today.slice(0, 7);
  const weeks = weeksOf(month);
  const [first, last] = [weeks[0]?.[0] ?? `${month}-01`, weeks.at(-1)?.[6] ?? `${month}-01`];
  const answer = usePolled<Answer>("/timed/calendar", { ...query, from: first, to: last });
  const follows = useRef(false); // the keyboard walked to another day: it takes the focus as soon as it is there
  const go = (by: number): void => change({ month: monthsLater(month, by), day: null });
  return (
    <div class="calendar">
      <div class="calendar-bar">
        <h2 aria-live="polite">{monthName(month)}</h2>
        <button type="button" class="button small" onClick={() => go(-1)}>Earlier</button>
        <button type="button" class="button small" disabled={month >= today.slice(0, 7)} onClick={() => go(1)}>Later</button>
      </div>
      <Loaded of={answer} skeleton={<Skeleton kind="table" rows={6} />}>
        {(data) => <Month answer={data} month={month} weeks={weeks} chosen={isDate(chosen) ? chosen : today} today={today} change={change} follows={follows} />}
      </Loaded>
    </div>
  );
}

// The currencies of an answer, the one with the most executions first: a calendar shows one at a time, they are never added up.
function currencies(days: readonly Day[]): string[] {
  const counts = new Map<string, number>();
  for (const { currency, entries, adds, trims, exits } of days) counts.set(currency, (counts.get(currency) ?? 0) + entries + adds + trims + exits);
  return [...counts].sort(([a, left], [b, right]) => right - left || (a < b ? -1 : 1)).map(([currency]) => currency);
}

interface MonthProps {
  answer: Answer;
  month: string;
  weeks: readonly (readonly string[])[];
  chosen: string;
  today: string;
  change: Change;
  follows: { current: boolean };
}

function Month({ answer, month, weeks, chosen, today, change, follows }: MonthProps): JSX.Element {
  const [own, setOwn] = useState<string | null>(null);
  const known = currencies(answer.days);
  const currency = own !== null && known.includes(own) ? own : (known[0] ?? null);
  const days = new Map(answer.days.filter((day) => day.currency === currency).map((day) => [day.date, day]));
  const sums = new Map(answer.weeks.filter((week) => week.currency === currency).map((week) => [weeks.findIndex((dates) => dates.includes(week.first_date)), week]));
  const inMonth = [...days.values()].filter(({ date }) => date.startsWith(month));
  const amounts = [...days.values()].map(({ realized_pnl }) => realized_pnl).filter((amount) => amount !== null);
  const largest = Number(amounts.map(absolute).sort(compare).at(-1) ?? "0");
  const isNarrow = useIsNarrow();
  const isShown = (date: string): boolean => !isNarrow || weekday(date) < SATURDAY; // a phone leaves weekends out
  const stop = chosen.startsWith(month) && isShown(chosen) ? chosen : (weeks.flat().find((date) => date.startsWith(month) && isShown(date)) ?? `${month}-01`);
  const grid = useRef<HTMLTableElement>(null);
  useLayoutEffect(() => {
    if (!follows.current) return;
    follows.current = false;
    grid.current?.querySelector<HTMLElement>(`[data-date="${stop}"]`)?.focus({ preventScroll: true });
  });

  const open = (date: string): void => change({ tab: null, month: null, day: null, from: date, to: date });
  const move = (event: TargetedKeyboardEvent<HTMLTableElement>): void => {
    const date = event.target instanceof HTMLElement ? event.target.dataset["date"] : undefined;
    let to = date === undefined ? null : dayStep(date, event.key);
    if (to === null || date === undefined) return;
    event.preventDefault();
    while (!isShown(to)) to = daysLater(to, to < date ? -1 : 1);
    if (to > today) return;
    follows.current = true;
    change({ day: to, month: to.slice(0, 7) });
  };
  return (
    <>
      {known.length > 1 && <Toggle label="Currency" tabs={known.map((key) => ({ key, title: key }))} chosen={currency ?? ""} choose={setOwn} />}
      <MonthLine days={inMonth} currency={currency} />
      <table class="cal-month" role="grid" aria-label={`Results by day, ${monthName(month)}`} ref={grid} onKeyDown={move}>
        <thead role="rowgroup">
          <tr role="row">
            {WEEKDAYS.map((name) => <th key={name} role="columnheader" scope="col">{name}</th>)}
            <th role="columnheader" scope="col">Week</th>
          </tr>
        </thead>
        <tbody role="rowgroup">
          {weeks.map((dates, number) => (
            <tr key={dates[0]} role="row">
              {dates.map((date) => <Cell key={date} date={date} day={days.get(date)} isOther={!date.startsWith(month)} isStop={date === stop} isToday={date === today} isAhead={date > today} largest={largest} open={open} />)}
              <WeekCell week={sums.get(number)} />
            </tr>
          ))}
        </tbody>
      </table>
      <p class="hint">▲ gain, ▼ loss, ● flat: realized P&L of the day's executions after fees. Arrow keys walk through days, PageUp and PageDown through months, Enter opens a day.</p>
    </>
  );
}

function MonthLine({ days, currency }: { days: readonly Day[]; currency: string | null }): JSX.Element {
  const isKnown = days.every(({ realized_pnl }) => realized_pnl !== null);
  const sum = isKnown ? total(days.map(({ realized_pnl }) => realized_pnl)) : null;
  const count = (read: (day: Day) => number): number => days.reduce((all, day) => all + read(day), 0);
  return (
    <p class="calendar-total">
      Month <strong><Money value={sum} currency={currency} pnl /></strong>
      <span class="hint"> · {counted(count((day) => day.wins), "win")}, {counted(count((day) => day.losses), "loss", "losses")}, {count((day) => day.flats)} flat · {counted(count((day) => day.entries), "entry", "entries")}, {counted(count((day) => day.adds), "add")}, {counted(count((day) => day.trims), "trim")}, {counted(count((day) => day.exits), "exit")}</span>
    </p>
  );
}

function acted(day: Day): number {
  return day.entries + day.adds + day.trims + day.exits;
}

interface CellProps {
  date: string;
  day: Day | undefined; // left out: no trading day
  isOther: boolean; // of the month before or after
  isStop: boolean;
  isToday: boolean;
  isAhead: boolean;
  largest: number;
  open: (date: string) => void;
}

function toneOf(amount: Decimal | null, largest: number): string {
  const kind = amount === null ? 0 : sign(amount);
  return kind === 0 ? "" : `${kind > 0 ? "is-gain" : "is-loss"} heat-${strength(amount, largest)}`;
}

function Cell({ date, day, isOther, isStop, isToday, isAhead, largest, open }: CellProps): JSX.Element {
  const isHidden = usePrivacy();
  const isNarrow = useIsNarrow();
  const number = Number(date.slice(8));
  const own = `${isOther ? " is-other" : ""}${isToday ? " is-today" : ""}`;
  if (day === undefined) {
    const why = isAhead ? "not yet" : "no session";
    return (
      <td role="gridcell" class={`cal-day is-closed${own}`}>
        <span class="cal-cell" data-date={date} tabIndex={isStop ? 0 : -1} aria-label={`${dayName(date)}: ${why}`}><span class="cal-number">{number}</span></span>
      </td>
    );
  }
  const executions = acted(day);
  const result = day.realized_pnl;
  const said = result === null ? "result unknown" : isHidden ? `${["down", "flat", "up"][sign(result) + 1]}, amount hidden` : moneyWords(result, day.currency, false);
  const name = executions === 0 ? `${dayName(date)}: nothing executed` : `${dayName(date)}: ${said}, ${day.wins} wins, ${day.losses} losses, ${executions} executions; open its trades`;
  return (
    <td role="gridcell" class={`cal-day ${executions === 0 ? "" : toneOf(result, largest)}${own}`}>
      <button type="button" class="cal-cell" data-date={date} tabIndex={isStop ? 0 : -1} aria-label={name} onClick={() => open(date)}>
        <span class="cal-number">{number}</span>
        {executions > 0 && (
          <>
            <span class="cal-result">{result !== null && <span class="arrow">{arrow(result)} </span>}{isNarrow ? <Whole value={result} currency={day.currency} /> : <Money value={result} currency={day.currency} pnl />}</span>
            <span class="cal-counts">{day.wins}W {day.losses}L{day.flats > 0 ? ` ${day.flats}F` : ""} · {executions} ex.</span>
          </>
        )}
      </button>
    </td>
  );
}

// without cents where a cell has no room for them; the tool tip has them
function Whole({ value, currency }: { value: Decimal | null; currency: string }): JSX.Element {
  const isHidden = usePrivacy();
  if (isHidden || value === null || sign(value) === 0) return <Money value={value} currency={currency} pnl />;
  return <span class={`num ${sign(value) > 0 ? "gain" : "loss"}`} title={`${value} ${currency}`}>{money(value, currency, { signed: true, least: 0, most: 0 })}</span>;
}

function WeekCell({ week }: { week: Week | undefined }): JSX.Element {
  if (week === undefined) return <td role="gridcell" class="cal-week" />;
  const executions = week.entries + week.adds + week.trims + week.exits;
  if (executions === 0) return <td role="gridcell" class="cal-week"><span class="cal-counts">nothing executed</span></td>;
  return (
    <td role="gridcell" class={`cal-week ${toneOf(week.realized_pnl, 0)}`}>
      <span class="cal-result">{week.realized_pnl !== null && <span class="arrow">{arrow(week.realized_pnl)} </span>}<Money value={week.realized_pnl} currency={week.currency} pnl /></span>
      <span class="cal-counts">{week.wins}W {week.losses}L{week.flats > 0 ? ` ${week.flats}F` : ""} · {executions} ex.</span>
    </td>
  );
}
