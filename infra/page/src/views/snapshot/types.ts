// Answers about published days, as the API gives them.
import type { Frame, Page } from "../../api/hand.ts";
import type { Decimal } from "../../lib/decimal.ts";

export interface DayNamed {
  date: string;
  stage: string | null;
  version: number;
  headline: string;
  updated_ts: number;
  restated: number;
}

export interface Dates extends Page {
  items: DayNamed[];
}

export interface Kpi {
  kpi: string;
  value: string;
  value_num: Decimal | null;
  kind: string;
  unit: string | null;
  missing_reason: string | null;
}

export interface Asset {
  trade_id: number;
  symbol: string | null;
  contract_name: string;
}

export interface PublishedDay {
  date: string;
  stage: string | null;
  version: number;
  kpi_version: number | null;
  content_sha256: string;
  headline: string;
  summary: string;
  books: string[];
  updated_ts: number;
  received_ts: number;
  publication: { status: string; target: string; verified: boolean | null; finished_ts: number } | null;
  kpis: Kpi[];
  assets: Asset[];
}

export interface Published extends Frame {
  snapshot: PublishedDay | null;
}

export interface Series extends Frame {
  points: { ts: number; value: Decimal; source: string | null }[];
}

export interface Extreme {
  side: "hi" | "lo";
  rank: number;
  trade_id: number | null;
  symbol: string | null;
  contract_name: string;
  metric_raw: Decimal | null;
  individual_pnl: Decimal | null;
  change_percent: Decimal | null;
  cost_basis: Decimal | null;
  qty: Decimal | null;
  mid_price: Decimal | null;
  liquidity_drag: Decimal | null;
}

export interface Extremes extends Frame {
  currency: string;
  items: Extreme[];
}

export interface LateAction {
  action_id?: string;
  action_type?: string;
  ticker?: string;
}

export interface Restatement {
  date: string;
  version: number;
  subject: string;
  name: string;
  old_text: string | null;
  new_text: string | null;
  difference: Decimal | null;
  recorded_ts: number;
  late_actions: LateAction[] | null;
}

export interface Restatements extends Page {
  items: Restatement[];
}
