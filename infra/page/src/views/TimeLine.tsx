// The activity: what happened on the desk, newest first; each item opens the position it belongs to.
import type { JSX } from "preact";
import type { Activity, Item as ActivityItem } from "../api/types.ts";
import { useScope } from "../lib/books.ts";
import { formatted } from "../lib/decimal.ts";
import { memo } from "../lib/memo.ts";
import { LIVE_SECONDS, usePolled } from "../lib/poll.ts";
import { HIDDEN, usePrivacy } from "../lib/privacy.ts";
import { Link, useFilters } from "../lib/router.tsx";
import { clock, dayOf, dayWords, tip, zoneName } from "../lib/time.ts";
import { Card } from "../parts/Card.tsx";
import { Empty } from "../parts/Empty.tsx";
import { Loaded } from "../parts/Loaded.tsx";
import { Money } from "../parts/Money.tsx";
import { Pill } from "../parts/Pill.tsx";
import { Skeleton } from "../parts/Skeleton.tsx";
import { Toggle } from "../parts/Tabs.tsx";
import { readable, titled } from "../parts/words.ts";

const KINDS: Readonly<Record<string, { title: string; kinds: string }>> = {
  trades: { title: "Trades", kinds: "execution,correction" },
  lanes: { title: "Lanes", kinds: "lane_move" },
  desk: { title: "Desk", kinds: "message,snapshot,sync,replay" },
};

const WORDS: Readonly<Record<ActivityItem["kind"], string>> = {
  execution: "Execution",
  correction: "Corrected",
  lane_move: "Lane",
  message: "Message",
  snapshot: "Snapshot",
  sync: "Sync",
  replay: "Replay",
};

export function TimeLine(): JSX.Element {
  const { query } = useScope();
  const [params, change] = useFilters();
  const chosen = KINDS[params["what"] ?? ""] === undefined ? "trades" : (params["what"] ?? "trades");
  const polled = usePolled<Activity>("/timed/activity", { ...query, kinds: KINDS[chosen]?.kinds, limit: "60" }, LIVE_SECONDS);
  return (
    <Card title="Activity" class="activity-card" actions={<Toggle label="Kind of activity" tabs={Object.entries(KINDS).map(([key, { title }]) => ({ key, title }))} chosen={chosen} choose={(key) => change({ what: key === "trades" ? null : key })} />}>
      <Loaded of={polled} skeleton={<Skeleton rows={8} kind="table" />}>
        {(data) => (data.items.length === 0 ? <Empty title="Nothing happened yet">What is recorded stands here at once.</Empty> : <Items items={data.items} />)}
      </Loaded>
    </Card>
  );
}

function Items({ items }: { items: readonly ActivityItem[] }): JSX.Element {
  const days = [...new Map(items.map(({ ts }) => [dayOf(ts), ts]))];
  return (
    <div class="activity" tabIndex={0} role="region" aria-label="Activity, newest first">
      {days.map(([day, at]) => (
        <section key={day} aria-label={dayWords(day)}>
          <h3 class="activity-day">{dayWords(day)} <span class="hint">{zoneName(at)}</span></h3>
          <ol>{items.filter(({ ts }) => dayOf(ts) === day).map((item) => <Item key={item.id} item={item} />)}</ol>
        </section>
      ))}
    </div>
  );
}

const Item = memo(function Item({ item }: { item: ActivityItem }): JSX.Element {
  const body = (
    <>
      <time class="activity-time num" dateTime={new Date(item.ts).toISOString()} title={tip(item.ts)}>{clock(item.ts, { zone: false })}</time>
      <span class="activity-what">
        <Pill>{item.figures.action_type ?? WORDS[item.kind]}</Pill>
        <strong>{item.ticker ?? ""}</strong>
      </span>
      <span class="activity-result"><Result item={item} /></span>
      <span class="activity-detail"><Detail item={item} /></span>
    </>
  );
  return (
    <li>
      {item.position_id === null ? <div class="activity-item">{body}</div> : <Link class="activity-item" to={`/app/positions/${item.position_id}`}>{body}</Link>}
    </li>
  );
});

function Detail({ item }: { item: ActivityItem }): JSX.Element {
  const isHidden = usePrivacy();
  const { figures } = item;
  if (figures.qty !== undefined && figures.qty !== null) {
    const price = figures.price === undefined || figures.price === null ? "" : ` @ ${formatted(figures.price, { least: 2, most: 4 })}`;
    const quantity = isHidden ? HIDDEN : formatted(figures.qty, { most: 4 });
    return <>{figures.direction} <span class="num">{quantity}{price}</span>{figures.reason_text ? ` · ${figures.reason_text}` : ""}</>;
  }
  if (figures.lane !== undefined) return <>{figures.from_lane ? `${titled(figures.from_lane)} → ` : ""}{titled(figures.lane)}</>;
  return <>{isHidden ? WORDS[item.kind] : readable(item.title)}{figures.error && !isHidden ? ` · ${figures.error}` : ""}</>;
}

function Result({ item }: { item: ActivityItem }): JSX.Element | null {
  const { pnl_realized: pnl, currency = null, action_type: type } = item.figures;
  if (pnl === undefined || (type !== "TRIM" && type !== "EXIT" && item.kind !== "correction")) return null;
  return <Money value={pnl} currency={currency} pnl />;
}
