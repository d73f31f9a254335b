// The calendar of a month: weeks of trading days with their figures, and how strongly each day is coloured.
// Dates are texts (YYYY-MM-DD) of New York days; they are counted in UTC so that no clock change moves them.

export const DAY_MS = 86_400_000;
export const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] as const;
export const STRENGTHS = 4;
export const SATURDAY = 5;

export function dateMs(date: string): number {
  return Date.parse(`${date}T00:00:00Z`);
}

export function dateOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

export function daysLater(date: string, days: number): string {
  return dateOf(dateMs(date) + days * DAY_MS);
}

// Monday is 0
export function weekday(date: string): number {
  return (new Date(dateMs(date)).getUTCDay() + 6) % 7;
}

export function isMonth(text: string | undefined): text is string {
  return text !== undefined && /^\d{4}-(0[1-9]|1[0-2])$/.test(text);
}

export function isDate(text: string | undefined): text is string {
  return text !== undefined && /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(dateMs(text));
}

export function monthsLater(month: string, months: number): string {
  const [year = 1970, number = 1] = month.split("-").map(Number);
  return new Date(Date.UTC(year, number - 1 + months, 1)).toISOString().slice(0, 7);
}

export function monthName(month: string): string {
  return new Intl.DateTimeFormat("en-US", { month: "long", year: "numeric", timeZone: "UTC" }).format(dateMs(`${month}-01`));
}

export function dayName(date: string): string {
  return new Intl.DateTimeFormat("en-US", { dateStyle: "full", timeZone: "UTC" }).format(dateMs(date));
}

// the weeks (Monday first, seven dates each) that a month touches
export function weeksOf(month: string): string[][] {
  const first = `${month}-01`;
  const after = `${monthsLater(month, 1)}-01`;
  const weeks: string[][] = [];
  for (let monday = daysLater(first, -weekday(first)); monday < after; monday = daysLater(monday, 7)) {
    weeks.push(WEEKDAYS.map((_, number) => daysLater(monday, number)));
  }
  return weeks;
}

// The strength of a day's colour, 1 to STRENGTHS, by its share of the largest amount of the month; 0 for nothing.
// Only a colour: the figure itself is never made of this number.
export function strength(amount: string | null, largest: number): number {
  const size = amount === null ? 0 : Math.abs(Number(amount));
  if (size === 0 || largest === 0) return 0;
  return Math.max(1, Math.ceil((size / largest) * STRENGTHS));
}

// Where a key leads among the days of a calendar; null where it leads nowhere (the month itself is changed by PageUp and PageDown).
export function dayStep(from: string, key: string): string | null {
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7 }[key];
  if (by !== undefined) return daysLater(from, by);
  if (key === "Home") return daysLater(from, -weekday(from));
  if (key === "End") return daysLater(from, 4 - weekday(from));
  const months = { PageUp: -1, PageDown: 1 }[key];
  if (months === undefined) return null;
  const month = monthsLater(from.slice(0, 7), months);
  const last = daysLater(`${monthsLater(month, 1)}-01`, -1);
  const same = `${month}-${from.slice(8)}`;
  return same > last ? last : same;
}
