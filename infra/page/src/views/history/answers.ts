// The answers that History is made of, as far as it reads them.
import type { Frame, Page, Trade } from "../../api/hand.ts";
import type { Decimal } from "../../lib/decimal.ts";

export interface Executed {
  action_id: string;
  ts: number;
  action_type: string;
  reason: string | null;
  reason_text: string | null;
}

export interface PastTrade extends Trade {
  execution_actions?: Executed[];
}

export interface TradesAnswer extends Page {
  trades: PastTrade[];
}

export interface Counts {
  entries: number;
  adds: number;
  trims: number;
  exits: number;
  wins: number;
  losses: number;
  flats: number;
  pending: number;
}

export interface Day extends Counts {
  date: string;
  currency: string;
  realized_pnl: Decimal | null;
  fees: Decimal | null;
  open_at_close: number;
}

export interface Week extends Omit<Day, "date"> {
  first_date: string;
  last_date: string;
}

export interface CalendarAnswer extends Frame {
  first_date: string;
  last_date: string;
  days: Day[];
  weeks: Week[];
}

export interface Results extends Counts {
  currency: string;
  trades: number;
  open: number;
  closed: number;
  win_rate_percent: Decimal | null;
  realized_pnl: Decimal | null;
  fees: Decimal | null;
  profit_factor: Decimal | null;
  avg_win: Decimal | null;
  avg_loss: Decimal | null;
  expectancy: Decimal | null;
  best: Decimal | null;
  worst: Decimal | null;
  avg_hold_seconds: number | null;
}

export interface Group extends Results {
  key: string | null;
}

export interface SummaryAnswer extends Frame {
  totals: Results[];
  groups: Group[];
  other: Results[];
}
