// Answers about published days, as the API gives them.

export interface PublishedDay {
  date: string;
  stage: string | null;
  version: number;
  updated_ts: number | null;
}

export interface Kpi {
  kpi: string;
  value: string;
  value_num: string | null;
  kind: string;
  unit: string | null;
  missing_reason: string | null;
}

export interface Asset {
  trade_id: string | number;
  symbol: string | null;
  contract_name: string;
}

export interface Snapshot {
  date: string;
  stage: string | null;
  version: number;
  kpi_version: number | null;
  content_sha256: string;
  headline: string;
  summary: string;
  counts: Record<string, number>;
  updated_ts: number | null;
  received_ts: number | null;
  publication: { status: string; target: string; verified: boolean | null; finished_ts: number | null } | null;
  kpis: Kpi[];
  assets: Asset[];
}

export interface Point {
  ts: number;
  value: string;
  source: string | null;
}

export interface Extreme {
  side: "hi" | "lo";
  rank: number;
  trade_id: string | number | null;
  symbol: string | null;
  contract_name: string;
  metric_raw: string | null;
  individual_pnl: string | null;
  percent_change: string | null;
  cost_basis: string | null;
  qty: string | null;
  mid_price: string | null;
  liquidity_drag: string | null;
}

export interface Restatement {
  date: string;
  version: number;
  subject: string;
  name: string;
  old_text: string | null;
  new_text: string | null;
  difference: string | null;
  recorded_ts: number | null;
  late_actions: LateAction[];
}

export interface LateAction {
  action_id: string;
  action_type?: string;
  ticker?: string;
  executed_ts?: number | null;
  recorded_ts?: number | null;
}
