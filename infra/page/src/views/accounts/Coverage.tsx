// Which days of which account are covered: a strip of the last weeks per account, or one account month by month.

import { Empty, Label, Link, Loaded, Segments, Skeleton, usePolled } from "../kit";
import type { Account, Coverage as Answer } from "./types";
import { DAYS, DAY_RANK } from "./words";
import { WEEKDAYS, counted, dayWords, later, months, type CoverageDay, type Month } from "./months";

const SPANS = ["30", "90", "180", "400"];
const EVERY_SECONDS = 30;

interface Given {
  account: Account | null;
  accounts: readonly Account[];
  today: string;
  span: string;
  onSpan: (days: string) => void;
}

/** The calendar of an account, or the strips of all. */
export function Coverage({ account, accounts, today, span, onSpan }: Given) {
  const days = account === null ? 30 : Number(SPANS.includes(span) ? span : "90");
  const from = later(today, 1 - days);
  const found = usePolled<Answer>("/api/v1/sync/coverage", { from, to: today, account_id: account?.account_id ?? null }, EVERY_SECONDS);
  return (
    <div class="coverage">
      <div class="toolbar">
        <Legend />
        {account !== null && <Segments label="Days shown" options={SPANS.map((one) => [one, `${one} days`])} chosen={String(days)} onChoose={onSpan} />}
      </div>
      <Loaded of={found} what="covered days" skeleton={<Skeleton kind="calendar" />}>
        {(answer) =>
          answer.days.length === 0 ? (
            <Empty title="No day is covered yet" hint="Days stand here as soon as a run of a broker account has ended." />
          ) : account === null ? (
            <Strips accounts={accounts} days={answer.days} hasMore={answer.has_more} />
          ) : (
            <Months days={answer.days} />
          )
        }
      </Loaded>
    </div>
  );
}

function Legend() {
  return (
    <ul class="legend" aria-label="What the signs mean">
      {DAY_RANK.map((state) => (
        <li key={state} title={DAYS[state].meaning}><i class={`day day-${state}`} aria-hidden="true">{DAYS[state].sign}</i>{DAYS[state].word}</li>
      ))}
    </ul>
  );
}

function tally(days: readonly CoverageDay[]): string {
  return counted(days, DAY_RANK.filter((state) => state !== "closed" && state !== "unknown"))
    .map(([state, count]) => `${count} ${DAYS[state].word}`)
    .join(" · ");
}

function told(one: CoverageDay): string {
  return `${dayWords(one.day)}: ${DAYS[one.state].word}${one.run_id === null ? "" : `, run ${one.run_id.slice(0, 8)}`}`;
}

function Day({ of, short }: { of: CoverageDay; short?: boolean }) {
  return (
    <span class={`day day-${of.state}`} title={told(of)}>
      {!short && <b aria-hidden="true">{Number(of.day.slice(8))}</b>}
      <i aria-hidden="true">{DAYS[of.state].sign}</i>
      <span class="hidden">{told(of)}</span>
    </span>
  );
}

function Strips({ accounts, days, hasMore }: { accounts: readonly Account[]; days: readonly CoverageDay[]; hasMore: boolean }) {
  const byAccount = new Map<string, CoverageDay[]>();
  for (const one of days) byAccount.set(one.account_id, [...(byAccount.get(one.account_id) ?? []), one]);
  return (
    <>
      <ul class="strips">
        {accounts.filter((one) => byAccount.has(one.account_id)).map((one) => {
          const own = byAccount.get(one.account_id)!;
          return (
            <li key={one.account_id}>
              <Link to="accounts" params={{ account: one.account_id, tab: "coverage" }} replace class="strip-name"><Label text={one.label} /></Link>
              <small>{tally(own) || "nothing covered"}</small>
              <ol aria-label={`Days of ${one.platform} account`}>{own.map((day) => <li key={day.day}><Day of={day} short /></li>)}</ol>
            </li>
          );
        })}
      </ul>
      {hasMore && <p class="hint">More accounts have days than fit one answer. Choose an account to see its days.</p>}
    </>
  );
}

function Months({ days }: { days: readonly CoverageDay[] }) {
  return (
    <>
      <p class="hint">{tally(days) || "Nothing is covered in this span."}</p>
      <div class="months">{months(days).map((one) => <MonthTable key={one.name} of={one} />)}</div>
    </>
  );
}

function MonthTable({ of }: { of: Month }) {
  return (
    <table class="month">
      <caption>{of.name}</caption>
      <thead><tr>{WEEKDAYS.map((one) => <th key={one} scope="col"><abbr title={one}>{one.slice(0, 2)}</abbr></th>)}</tr></thead>
      <tbody>
        {of.weeks.map((week, number) => (
          <tr key={number}>{week.map((one, place) => <td key={place}>{one !== null && <Day of={one} />}</td>)}</tr>
        ))}
      </tbody>
    </table>
  );
}
