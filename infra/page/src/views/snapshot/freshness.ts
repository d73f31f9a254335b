// Whether the newest published day is as new as it should be by now: judged by what was due last (snapshot specification, 5.6).
import { exchangeInstant } from "../../lib/time.ts";
import type { SessionAnswer } from "../../frame/desk.ts";

const DUE: readonly (readonly [string, string])[] = [["premarket", "09:15"], ["intraday", "12:45"], ["final", "16:45"]];
const ORDER = DUE.map(([stage]) => stage);
const STALE_MS = 30 * 60_000;

export type Freshness = "fresh" | "late" | "stale" | "closed";

export interface Standing {
  date: string;
  stage: string | null;
}

// `today` and `last`: dates of sessions, null where today has none.
export function freshness(now: number, today: string | null, last: string | null, newest: Standing | null): Freshness | null {
  const due = DUE.map(([stage, time]) => ({ stage, at: today === null ? null : exchangeInstant(`${today}T${time}`) })).filter(({ at }) => at !== null && at <= now);
  const latest = due.at(-1);
  const wanted = latest === undefined ? { date: last, stage: "final" } : { date: today, stage: latest.stage };
  if (wanted.date === null) return null;
  const has = newest !== null && (newest.date > wanted.date || (newest.date === wanted.date && ORDER.indexOf(newest.stage ?? "") >= ORDER.indexOf(wanted.stage)));
  if (today === null) return has ? "closed" : "stale";
  if (has) return "fresh";
  return latest === undefined || latest.at === null || now - latest.at >= STALE_MS ? "stale" : "late";
}

export function freshnessNow(now: number, desk: SessionAnswer | null, newest: Standing | null): Freshness | null {
  return desk === null ? null : freshness(now, desk.session.today?.date ?? null, desk.session.last?.date ?? null, newest);
}
