// Instants as the desk reads them: exchange time with its zone's name, ages by the desk's clock, trading days as they are named.
import { useEffect, useRef, useState } from "preact/hooks";

export const EXCHANGE_ZONE = "America/New_York";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

// How far the desk's clock is from this machine's: the local desk may live in another day, a laptop may be wrong.
let apart = 0;

export function setDeskTime(ts: number): void {
  apart = ts - Date.now();
}

export function deskNow(): number {
  return Date.now() + apart;
}

const forms = new Map<string, Intl.DateTimeFormat>();

function form(zone: string | undefined, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const name = JSON.stringify([zone, options]);
  let found = forms.get(name);
  if (found === undefined) {
    found = new Intl.DateTimeFormat("en-US", { hourCycle: "h23", ...(zone === undefined ? {} : { timeZone: zone }), ...options });
    forms.set(name, found);
  }
  return found;
}

function pieces(ts: number, zone: string | undefined): Record<string, string> {
  const options = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" } as const;
  const found = form(zone, { ...options, timeZoneName: "short" }).formatToParts(ts);
  return Object.fromEntries(found.map(({ type, value }) => [type, value]));
}

export interface Shown {
  date?: boolean; // the day before the time
  seconds?: boolean; // default: with seconds
  zone?: boolean; // default: with EST or EDT
}

// 1770148802000 -> "15:00:02 EST", with date "2026-02-03 15:00:02 EST".
export function clock(ts: number, { date = false, seconds = true, zone = true }: Shown = {}): string {
  const at = pieces(ts, EXCHANGE_ZONE);
  const day = date ? `${at["year"]}-${at["month"]}-${at["day"]} ` : "";
  return `${day}${at["hour"]}:${at["minute"]}${seconds ? `:${at["second"]}` : ""}${zone ? ` ${at["timeZoneName"]}` : ""}`;
}

// The New York day of an instant, "2026-02-03".
export function dayOf(ts: number): string {
  const at = pieces(ts, EXCHANGE_ZONE);
  return `${at["year"]}-${at["month"]}-${at["day"]}`;
}

// "EST" or "EDT", whichever holds then.
export function zoneName(ts: number): string {
  return pieces(ts, EXCHANGE_ZONE)["timeZoneName"] ?? "";
}

// A trading day in words: "2026-02-03" -> "Tue, Feb 3, 2026". A day is no instant: it is read as one of UTC, shown in UTC.
export function dayWords(day: string, year = true): string {
  const options: Intl.DateTimeFormatOptions = { weekday: "short", month: "short", day: "numeric", ...(year ? { year: "numeric" } : {}) };
  return form("UTC", options).format(Date.parse(`${day}T00:00:00Z`));
}

// What the tool tip of an instant says: UTC, and the viewer's own zone.
export function tip(ts: number): string {
  const utc = new Date(ts).toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");
  const own = pieces(ts, undefined);
  return `${utc} · ${own["year"]}-${own["month"]}-${own["day"]} ${own["hour"]}:${own["minute"]}:${own["second"]} ${own["timeZoneName"]} (here)`;
}

// How long ago, in the largest unit that says enough: "12 s ago", "3 min ago", "5 h ago", "4 d ago".
export function age(ts: number, now: number = deskNow()): string {
  return `${duration(Math.max(0, now - ts))} ago`;
}

export function duration(ms: number): string {
  if (ms < 90 * 1000) return `${Math.floor(ms / 1000)} s`;
  if (ms < 90 * MINUTE) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < 48 * HOUR) return `${Math.floor(ms / HOUR)} h`;
  return `${Math.floor(ms / DAY)} d`;
}

const tickers = new Set<() => void>();
let ticking = 0;

function tick(): void {
  for (const one of [...tickers]) one();
}

// A value made of the desk's time, made again each second; only a change of it draws anything.
export function useTick<T>(read: (now: number) => T): T {
  const latest = useRef(read);
  latest.current = read;
  const [, setShown] = useState<T>(() => read(deskNow()));
  useEffect(() => {
    const again = (): void => setShown(() => latest.current(deskNow()));
    tickers.add(again);
    if (ticking === 0) ticking = window.setInterval(tick, 1000);
    return () => {
      tickers.delete(again);
      if (tickers.size === 0) {
        clearInterval(ticking);
        ticking = 0;
      }
    };
  }, []);
  return read(deskNow());
}

// What a field of type datetime-local shows for an instant, in exchange time: "2026-02-03T14:05".
export function localInput(ts: number): string {
  const at = pieces(ts, EXCHANGE_ZONE);
  return `${at["year"]}-${at["month"]}-${at["day"]}T${at["hour"]}:${at["minute"]}`;
}

// The instant that exchange clocks showed as "2026-02-03T14:05"; of a repeated hour the first, null for what is no time.
export function exchangeInstant(text: string): number | null {
  const found = /^(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2})/.exec(text);
  if (found === null) return null;
  const wanted = `${found[1]}T${found[2]}`;
  const asUtc = Date.parse(`${wanted}:00Z`);
  if (Number.isNaN(asUtc)) return null;
  const fits = [4, 5].map((hours) => asUtc + hours * HOUR).filter((ts) => localInput(ts) === wanted);
  return fits[0] ?? asUtc + 5 * HOUR;
}
