// What History asks for: one set of filters, kept in the address, read by the list, the figures and the export alike.

import { daysLater, isDate } from "./month";

export type Given = Readonly<Record<string, string>>;

export const FIELDS = ["ticker", "direction", "outcome", "status", "reason", "from", "to", "min_pnl", "max_pnl", "tag"] as const;
export type Field = (typeof FIELDS)[number];
export type Filter = Partial<Record<Field, string>>;

export const OUTCOMES = ["win", "loss", "flat", "pending"] as const;
const DECIMAL = /^-?\d+(\.\d+)?$/;

// the filters of an address; what cannot be understood is left out rather than asked for
export function filterOf(params: Given): Filter {
  const filter: Filter = {};
  for (const field of FIELDS) {
    const text = params[field]?.trim();
    if (text === undefined || text === "") continue;
    if ((field === "from" || field === "to") && !isDate(text)) continue;
    if ((field === "min_pnl" || field === "max_pnl") && !DECIMAL.test(text)) continue;
    filter[field] = field === "ticker" ? text.toUpperCase() : text;
  }
  return filter;
}

// The parameters of the API: its range is half open, the reader's "to" is a day that belongs to the range.
export function asked(filter: Filter): Record<string, string> {
  const { from, to, ...same } = filter;
  const params: Record<string, string> = { ...(same as Record<string, string>) };
  if (from !== undefined) params["since"] = from;
  if (to !== undefined) params["until"] = daysLater(to, 1);
  return params;
}

export function isEmpty(filter: Filter): boolean {
  return Object.keys(filter).length === 0;
}

// one sentence that says what is shown
export function sentence(filter: Filter): string {
  const parts: string[] = [];
  if (filter.direction) parts.push(filter.direction.toUpperCase());
  if (filter.status && filter.status !== "all") parts.push(filter.status);
  if (filter.ticker) parts.push(filter.ticker);
  const what = parts.length ? `${parts.join(" ")} trades` : "All trades";
  const more: string[] = [];
  if (filter.outcome) more.push(`that ended as ${filter.outcome}`);
  if (filter.reason) more.push(`with reason ${filter.reason.replaceAll("_", " ")}`);
  if (filter.tag) more.push(`tagged ${filter.tag}`);
  if (filter.from && filter.to) more.push(filter.from === filter.to ? `active on ${filter.from}` : `active ${filter.from} to ${filter.to}`);
  else if (filter.from) more.push(`active since ${filter.from}`);
  else if (filter.to) more.push(`active up to ${filter.to}`);
  return [what, ...more].join(", ");
}
