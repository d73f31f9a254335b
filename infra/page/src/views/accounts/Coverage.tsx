// Which days of which account are covered: a strip of the last weeks per account, or one account month by month.
import type { JSX } from "preact";
import { dayWords } from "../../lib/time.ts";
import { usePolled } from "../../lib/poll.ts";
import { Link } from "../../lib/router.tsx";
import { Empty } from "../../parts/Empty.tsx";
import { Label } from "../../parts/Label.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";
import { Toggle } from "../../parts/Tabs.tsx";
import { counted, later, months, WEEKDAYS, type Month } from "./months.ts";
import type { Account, CoveredDay, SyncCoverage } from "./types.ts";
import { DAY_RANK, DAYS } from "./words.ts";

const SPANS = ["30", "90", "180", "400"];
const SPAN_OF_ALL = 30;

interface Props {
  account: Account | null;
  accounts: readonly Account[];
  today: string;
  span: string;
  chooseSpan: (days: string) => void;
}

export function Coverage({ account, accounts, today, span, chooseSpan }: Props): JSX.Element {
  const days = account === null ? SPAN_OF_ALL : Number(SPANS.includes(span) ? span : "90");
  const found = usePolled<SyncCoverage>("/api/v1/sync/coverage", { from: later(today, 1 - days), to: today, account_id: account?.account_id ?? null });
  return (
    <>
      <div class="toolbar">
        <Legend />
        {account === null && <span class="hint">{dayWords(later(today, 1 - days), false)} to {dayWords(today, false)}</span>}
        {account !== null && <Toggle label="Days shown" tabs={SPANS.map((key) => ({ key, title: `${key} days` }))} chosen={String(days)} choose={chooseSpan} />}
      </div>
      <Loaded of={found} skeleton={<Skeleton kind="table" rows={8} />}>
        {(answer) =>
          answer.days.length === 0 ? (
            <Empty title="No day is covered yet">Days stand here as soon as a run of a broker account has ended.</Empty>
          ) : account === null ? (
            <Strips accounts={accounts} days={answer.days} hasMore={answer.has_more} />
          ) : (
            <Months days={answer.days} />
          )
        }
      </Loaded>
    </>
  );
}

function Legend(): JSX.Element {
  return (
    <ul class="legend" aria-label="What the signs mean">
      {DAY_RANK.map((state) => (
        <li key={state} title={DAYS[state].meaning}><span class={`day day-${state}`} aria-hidden="true">{DAYS[state].sign}</span>{DAYS[state].word}</li>
      ))}
    </ul>
  );
}

const TALLIED = DAY_RANK.filter((state) => state !== "closed" && state !== "unknown");

function tally(days: readonly CoveredDay[]): string {
  return counted(days, TALLIED).map(([state, count]) => `${count} ${DAYS[state].word}`).join(" · ");
}

function told(one: CoveredDay): string {
  return `${dayWords(one.day)}: ${DAYS[one.state].word}${one.run_id === null ? "" : `, run ${one.run_id.slice(0, 8)}`}`;
}

function Day({ of, withNumber = false }: { of: CoveredDay; withNumber?: boolean }): JSX.Element {
  return (
    <span class={`day day-${of.state}`} title={told(of)} data-day={of.day}>
      {withNumber && <span class="day-number" aria-hidden="true">{Number(of.day.slice(8))}</span>}
      <span aria-hidden="true">{DAYS[of.state].sign}</span>
      <span class="visually-hidden">{told(of)}</span>
    </span>
  );
}

function byAccount(days: readonly CoveredDay[]): Map<string, CoveredDay[]> {
  const found = new Map<string, CoveredDay[]>();
  for (const one of days) {
    const own = found.get(one.account_id);
    if (own === undefined) found.set(one.account_id, [one]);
    else own.push(one);
  }
  return found;
}

function Strips({ accounts, days, hasMore }: { accounts: readonly Account[]; days: readonly CoveredDay[]; hasMore: boolean }): JSX.Element {
  const found = byAccount(days);
  return (
    <>
      <ul class="strips">
        {accounts.map((one) => {
          const own = found.get(one.account_id);
          if (own === undefined) return null;
          return (
            <li key={one.account_id}>
              <div>
                <Link to="/app/accounts" params={{ account: one.account_id, tab: "coverage" }}><Label text={one.label} /></Link>
                <p class="hint">{tally(own) || "nothing covered"}</p>
              </div>
              <ol aria-label={`The last ${own.length} days of an ${one.platform} account`}>{own.map((day) => <li key={day.day}><Day of={day} /></li>)}</ol>
            </li>
          );
        })}
      </ul>
      {hasMore && <p class="hint">More accounts have days than fit one answer. Choose an account to see its days.</p>}
    </>
  );
}

function Months({ days }: { days: readonly CoveredDay[] }): JSX.Element {
  return (
    <>
      <p class="hint">{tally(days) || "Nothing is covered in this span."}</p>
      <div class="months">{months(days).map((one) => <MonthTable key={one.name} of={one} />)}</div>
    </>
  );
}

function MonthTable({ of }: { of: Month }): JSX.Element {
  return (
    <table class="month">
      <caption>{of.name}</caption>
      <thead><tr>{WEEKDAYS.map((one) => <th key={one} scope="col" abbr={one}>{one.slice(0, 2)}</th>)}</tr></thead>
      <tbody>
        {of.weeks.map((week, number) => <tr key={number}>{week.map((one, place) => <td key={place}>{one !== null && <Day of={one} withNumber />}</td>)}</tr>)}
      </tbody>
    </table>
  );
}
