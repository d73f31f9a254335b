// Whether figures are as fresh as their source allows: late and old within a session, plainly dated outside of one (tracker.md 7).
import type { JSX } from "preact";
import { useMarket } from "../frame/ExchangeClock.tsx";
import { limits, useScope } from "../lib/books.ts";
import { clock, duration, useTick } from "../lib/time.ts";

const MINUTE = 60_000;

interface Props {
  ts: number | null | undefined; // newest row behind the figures
  what?: string;
}

export function Freshness({ ts, what = "These figures" }: Props): JSX.Element | null {
  const { books, asOf } = useScope();
  const market = useMarket();
  const strictest = limits(books.length === 1 ? (books[0] ?? "live") : "live");
  const ago = useTick((now) => (ts === null || ts === undefined ? "" : duration(now - ts)));
  const level = useTick((now) => (ts === null || ts === undefined ? "none" : now - ts >= strictest.old * MINUTE ? "old" : now - ts >= strictest.late * MINUTE ? "late" : "fresh"));
  if (ts === null || ts === undefined) return null;
  if (asOf !== null) return <p class="freshness">As of <strong class="num">{clock(Date.parse(asOf), { date: true })}</strong>, not now.</p>;
  if (!market.isOpen) return <p class="freshness">{capital(market.word)}{market.detail === "" ? "" : `, ${market.detail}`}.</p>;
  if (level === "fresh") return null;
  const isOld = level === "old";
  return (
    <p class={`freshness ${level}`} role={isOld ? "alert" : undefined}>
      <strong>{isOld ? "Old" : "Late"}:</strong> {what} are <span class="num">{ago}</span> old; the market is open and their source should be faster than {isOld ? strictest.old : strictest.late} minutes.
    </p>
  );
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
