// Answers about replays, as the API gives them.

export interface Run {
  run_id: string;
  name: string | null;
  kind: string;
  book_id: string;
  status: string;
  date_from: string;
  date_to: string;
  ticker: string | null;
  script_version: string;
  profile: string;
  session: string;
  config_digest: string | null;
  code_version: string | null;
  buckets_done: number;
  buckets_total: number | null;
  rows: number;
  rows_per_second: string | null;
  trades_created: number;
  trades_purged: number;
  realized_pnl: string | null;
  currency: string | null;
  state_hash: string | null;
  result_hash: string | null;
  error: string | null;
  pinned: boolean;
  created_by: string | null;
  created_ts: number | null;
  started_ts: number | null;
  finished_ts: number | null;
  gaps: GapDay[] | null;
}

export interface GapDay {
  date: string;
  grade: string;
  minutes_present?: number;
  minutes_expected?: number;
}

export interface Totals {
  decided: number;
  entries: number;
  adds: number;
  trims: number;
  exits: number;
  realized_pnl: string | null;
}

export interface TradeDifference {
  status: "equal" | "left_only" | "right_only" | "different";
  ticker: string | null;
  left: Side | null;
  right: Side | null;
  first_difference: string | null;
}

export interface Side {
  position_id: string;
  direction: string | null;
  quantity: string | null;
  realized_pnl: string | null;
  action_count: number | null;
  first_entry_ts: number | null;
}

export interface Divergence {
  ticker: string;
  bucket_ts: number;
  ts: number;
  receipt_id: string | null;
  field: string;
  left: unknown;
  right: unknown;
  cause: string;
  rule: string | null;
  says: (string | null)[];
  later_count: number;
}

export interface Comparison {
  left: string;
  right: string;
  identical: boolean;
  totals: { left: Totals; right: Totals; difference: Partial<Record<keyof Totals, string | number | null>> };
  tickers: number;
  divergent: number;
  trades: TradeDifference[];
  first_divergence: Divergence | null;
  compared_ts: number | null;
}
