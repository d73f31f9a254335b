// Answers about replays, as the API gives them.
import type { Frame, Page } from "../../api/hand.ts";
import type { Decimal } from "../../lib/decimal.ts";

export interface Run {
  run_id: string;
  name: string | null;
  kind: string;
  book_id: string;
  date_from: string;
  date_to: string;
  ticker: string | null;
  script_version: string;
  session: string;
  start: string;
  facts: string;
  profile: string;
  config_digest: string;
  code_version: string;
  status: "planned" | "running" | "paused" | "done" | "failed" | "cancelled";
  progress: { buckets_done: number; buckets_total: number | null; bucket_ts: number | null; rows: number; rows_per_second: Decimal | null };
  conflicts: number;
  trades_created: number;
  trades_purged: number;
  realized: { currency: string; realized_pnl: Decimal | null }[];
  grade: "complete" | "thin" | "gap" | null;
  result_hash: string | null;
  state_hash: string | null;
  error: string | null;
  created_by: string;
  created_ts: number;
  started_ts: number | null;
  finished_ts: number | null;
}

export interface Runs extends Page {
  runs: Run[];
}

export interface Totals {
  decided: number;
  entries: number;
  adds: number;
  trims: number;
  exits: number;
  realized_pnl: Decimal | null;
}

export interface Side {
  label: string;
  book_id: string;
  name: string | null;
  profile: string | null;
  status: string | null;
  totals: Totals;
}

export interface Divergence {
  ticker: string;
  bucket_ts: number;
  ts: number;
  receipt_id: string | null;
  field: string;
  cause: "input" | "start" | "config" | "facts" | "code";
  rule: string | null;
  left: { value: unknown; rule_text: string | null };
  right: { value: unknown; rule_text: string | null };
  is_outcome: boolean;
  later_count: number;
}

export interface ComparedTrade {
  position_id: string;
  action_count: number;
  entry_ts: number;
  realized_pnl: Decimal | null;
}

export interface TradePair {
  ticker: string;
  direction: string;
  currency: string;
  status: "equal" | "left_only" | "right_only" | "different";
  left: ComparedTrade | null;
  right: ComparedTrade | null;
  first_difference: { ts: number; action_id: string; field: string; left: string | null; right: string | null } | null;
}

export interface Comparison extends Frame {
  comparison_id: string;
  compared_ts: number;
  date: string | null;
  identical: boolean;
  left: Side;
  right: Side;
  difference: Totals;
  positions: { equal: number; left_only: number; right_only: number; different: number };
  tickers: number;
  divergent: number;
  first_divergence: Divergence | null;
  trades: TradePair[];
  has_more: boolean;
}

export interface Portfolio extends Frame {
  curve: { ts: number; currency: string; equity: Decimal; state: string }[];
}
