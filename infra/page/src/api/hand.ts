// Answers of the API by hand, until they are generated from its OpenAPI document.
import type { Decimal } from "../lib/decimal.ts";

export interface Frame {
  ok: boolean;
  as_of_ts: number;
  as_of_at: string;
  data_as_of_ts: number | null;
  data_as_of_at: string | null;
  books: Record<string, { seq: number }>;
}

export interface Page extends Frame {
  count: number;
  has_more: boolean;
  next_cursor: string | null;
}

export type Direction = "LONG" | "SHORT";
export type Mark = "fresh" | "stale" | "missing";
export type DayDirection = "up" | "down" | "flat" | "unknown";

export interface Trade {
  position_id: string;
  trade_id: string;
  book_id: string;
  ticker: string;
  contract_name: string;
  direction: Direction;
  status: "OPEN" | "CLOSED";
  outcome: string | null;
  currency: string;
  total_qty: Decimal;
  opened_qty: Decimal;
  entry_price: Decimal | null;
  cost_basis: Decimal | null;
  current_price: Decimal | null;
  price_ts: number | null;
  price_state: Mark;
  unrealized_pnl: Decimal | null;
  realized_pnl: Decimal | null;
  fees: Decimal | null;
  return_percent: Decimal | null;
  day_change_percent: Decimal | null;
  day_direction: DayDirection;
  trimmed_percent: Decimal | null;
  lane: string | null;
  is_defend: boolean | null;
  first_entry_ts: number;
  last_action_ts: number;
  action_count: number;
  is_corrected?: boolean;
}

export interface Trades extends Page {
  trades: Trade[];
}
