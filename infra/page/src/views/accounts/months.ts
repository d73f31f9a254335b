// Days of an account as a calendar: months of weeks that begin on Monday, with holes where a month begins or ends within a week.
import type { CoveredDay, DayState } from "./types.ts";

export interface Month {
  name: string;
  weeks: (CoveredDay | null)[][];
}

const MONTH = new Intl.DateTimeFormat("en-US", { timeZone: "UTC", month: "long", year: "numeric" });
export const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

// The place of a day in its week, Monday 0.
function weekday(day: string): number {
  return (new Date(`${day}T00:00:00Z`).getUTCDay() + 6) % 7;
}

// Another day, some days on.
export function later(day: string, days: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}

// Days in their order as months; newest month first, because that is where people look.
export function months(days: readonly CoveredDay[]): Month[] {
  const found = new Map<string, CoveredDay[]>();
  for (const one of days) {
    const month = one.day.slice(0, 7);
    found.set(month, [...(found.get(month) ?? []), one]);
  }
  return [...found.values()].map(month).reverse();
}

function month(days: CoveredDay[]): Month {
  const weeks: (CoveredDay | null)[][] = [];
  for (const one of days) {
    const place = weekday(one.day);
    let week = weeks.at(-1);
    if (week === undefined || place === 0) weeks.push((week = Array<CoveredDay | null>(7).fill(null)));
    week[place] = one;
  }
  return { name: MONTH.format(Date.parse(`${days[0]?.day ?? ""}T00:00:00Z`)), weeks };
}

// How many days of each state, in the order of `states`; those without a day are left out.
export function counted(days: readonly CoveredDay[], states: readonly DayState[]): [DayState, number][] {
  return states
    .map((state): [DayState, number] => [state, days.filter((one) => one.state === state).length])
    .filter(([, count]) => count > 0);
}
