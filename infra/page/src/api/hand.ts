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

export interface Worth {
  currency: string;
  start_cash: Decimal;
  cash: Decimal | null;
  positions_value: Decimal | null;
  equity: Decimal | null;
  realized_pnl: Decimal | null;
  unrealized_pnl: Decimal | null;
  day_pnl: Decimal | null;
  day_realized_pnl: Decimal | null;
  day_return_percent: Decimal | null;
  gross_exposure: Decimal | null;
  net_exposure: Decimal | null;
  open_positions: number;
  missing_marks: string[];
}

export interface Portfolio extends Frame {
  date: string;
  valuation_ts: number;
  range: string;
  totals: Worth[];
  curve: { ts: number; currency: string; equity: Decimal; state: string }[];
}

export interface Results {
  currency: string;
  trades: number;
  open: number;
  closed: number;
  entries: number;
  adds: number;
  trims: number;
  exits: number;
  wins: number;
  losses: number;
  flats: number;
  pending: number;
  win_rate_percent: Decimal | null;
  realized_pnl: Decimal | null;
  fees: Decimal | null;
}

export interface Summary extends Frame {
  totals: Results[];
}

export interface ActivityItem {
  id: string;
  kind: "execution" | "correction" | "lane_move" | "message" | "snapshot" | "sync" | "replay";
  ts: number;
  book_id: string | null;
  ticker: string | null;
  title: string;
  figures: {
    action_type?: string;
    direction?: string;
    qty?: Decimal | null;
    price?: Decimal | null;
    value?: Decimal | null;
    pnl_realized?: Decimal | null;
    pnl_before?: Decimal | null;
    currency?: string;
    reason?: string | null;
    reason_text?: string | null;
    from_lane?: string | null;
    lane?: string;
    state?: string;
    error?: string | null;
  };
  position_id: string | null;
  action_id: string | null;
}

export interface Activity extends Page {
  items: ActivityItem[];
}
