// Answers about broker accounts, as the API gives them.

import type { CoverageDay } from "./months.ts";
import type { AccountState } from "./words.ts";

export interface Account {
  account_id: string;
  platform: "IBKR" | "MT5";
  label: string;
  broker_name: string;
  server: string | null;
  book_id: string;
  is_active: boolean;
  state: AccountState;
  balances: { currency: string | null; balance: string | null; equity: string | null; floating_profit: string | null; ts: number } | null;
  open_positions: number | null;
  close_pending: number | null;
  closed_today: number | null;
  last_sync_ts: number | null;
  last_success_ts: number | null;
  lag_seconds: number | null;
  failures_in_a_row: number;
  last_error: { class: string | null; text: string | null } | null;
  next_due_ts: number | null;
  cash_state: string | null;
  backfill_state: string | null;
  backfill_percent: string | null;
}

export type Accounts = Listed<Account>;

export interface Source {
  source: string;
  kind: string;
  state: string;
  run_state: string;
  started_ts: number | null;
  covered_from_ts: number | null;
  covered_to_ts: number | null;
  error_class: string | null;
  has_found_nothing: boolean;
  lag_seconds: number | null;
}

export interface Numbered {
  account_id: string;
  code: string;
  book_id: string;
  is_opening_missing: boolean;
  sources: Source[];
  anomalies: Record<string, number>;
  quarantine: Record<string, number>;
}

export interface SyncHealth {
  as_of_ts: number;
  accounts: Numbered[];
  quarantine_unassigned: Record<string, number>;
  mt5: {
    count: number;
    has_more: boolean;
    states: Record<AccountState, number>;
    fleet: { active_accounts: number; fresh_accounts: number; fresh_percent: string | null };
  };
}

export interface SyncRun {
  run_id: string;
  source: string;
  kind: string;
  state: string;
  is_complete: boolean;
  started_ts: number | null;
  finished_ts: number | null;
  requested_from_ts?: number | null;
  requested_to_ts?: number | null;
  covered_from_ts?: number | null;
  covered_to_ts?: number | null;
  window?: { requested_from: string | null; requested_to: string | null; covered_to: string | null } | null;
  counts: Record<string, unknown> | null;
  error_class: string | null;
  error_text?: string | null;
  duration_seconds: number | null;
}

export type SyncRuns = Listed<SyncRun>;

export interface Coverage {
  as_of_ts: number;
  days: CoverageDay[];
  has_more: boolean;
}

export interface Break {
  break_id: string;
  book_id: string;
  kind: string;
  instrument: string | null;
  ticker: string | null;
  direction: string | null;
  currency: string | null;
  expected: string | null;
  actual: string | null;
  difference: string | null;
  cause: string | null;
  note: string | null;
  sessions: number;
  first_seen_ts: number;
  last_seen_ts: number;
}

export interface Audit {
  as_of_ts: number;
  has_more: boolean;
  breaks: Break[];
}

export interface Annotated {
  notes: string | null;
  tags: string[];
  strategy: string | null;
  is_hidden: boolean;
  notes_version: number | null;
}

export interface NumberedTrade extends Annotated {
  trade_id: string;
  account_id: string;
  account_code: string;
  match_kind: string;
  confidence: string;
  merged_into: string | null;
  symbol: string | null;
  sec_type: string | null;
  side: string | null;
  currency: string | null;
  trade_day: string | null;
  status: string;
  total_quantity: string | null;
  total_value: string | null;
  avg_price: string | null;
  commission: string | null;
  commission_currency: string | null;
  missing_commission_count: number;
  execution_count: number;
  canonical_count: number;
  last_executed_ts: number | null;
  order_ref: string | null;
}

export interface Execution {
  execution_id: string;
  ib_exec_id: string;
  state: string;
  is_canonical: boolean;
  supersedes_execution_id: string | null;
  executed_ts: number | null;
  side: string | null;
  quantity: string | null;
  price: string | null;
  commission: string | null;
  commission_currency: string | null;
  currency: string | null;
  exchange: string | null;
  sources: string[];
}

export interface LinkedTrade extends Annotated {
  trade_id: string;
  account_id: string;
  label: string;
  symbol: string;
  type: string;
  status: string;
  currency: string | null;
  volume: string | null;
  open_volume: string | null;
  open_price: string | null;
  close_price: string | null;
  open_ts: number | null;
  close_ts: number | null;
  net_pnl: string | null;
  profit: string | null;
  ledger_state: string;
  entry_complete: boolean;
}

export interface Deal {
  deal_ticket: string;
  effect: string;
  server_time: string | null;
  price: string | null;
  volume: string | null;
  profit: string | null;
  commission: string | null;
  swap: string | null;
  fee: string | null;
  net: string | null;
  is_certain: boolean;
  comment: string | null;
}

export interface Listed<T> {
  as_of_ts: number;
  data_as_of_ts: number | null;
  items: T[];
  has_more: boolean;
  next_cursor: string | null;
}
