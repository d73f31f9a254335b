// Made from the OpenAPI document by `python3 infra/dev.py table`; whoever wants another form changes the answers' models.

/** A broker account of the tenant; null: not known, or not told by this broker. */
export interface Account {
  account_id: string;
  platform: "IBKR" | "MT5";
  label: string;
  broker_name: string;
  server: string | null;
  login_masked: string;
  book_id: string;
  is_active: boolean;
  state: "ok" | "late" | "failing" | "needs_login" | "paused";
  connection_status: string | null;
  balances: Balances | null;
  open_positions: number | null;
  close_pending: number | null;
  closed_today: number | null;
  positions_ts: Milliseconds | null;
  positions_at: Instant | null;
  last_sync_ts: Milliseconds | null;
  last_sync_at: Instant | null;
  last_deal_ts: Milliseconds | null;
  last_deal_at: Instant | null;
  last_success_ts: Milliseconds | null;
  last_success_at: Instant | null;
  lag_seconds: number | null;
  failures_in_a_row: number;
  last_error: Failure | null;
  next_due_ts: Milliseconds | null;
  next_due_at: Instant | null;
  cash_state: string | null;
  backfill_state: string | null;
  backfill_floor: string | null;
  backfill_percent: Percent | null;
}

/** How an IBKR account is followed, and what about it waits for a person. */
export interface AccountSync {
  account_id: string;
  code: string;
  book_id: string;
  is_enabled: boolean;
  is_opening_missing: boolean;
  opened_ts: Milliseconds | null;
  opened_at: Instant | null;
  sources: SyncSource[];
  anomalies: Record<string, number>;
  quarantine: Record<string, number>;
  breaks: BreakCount[];
}

/** A page of accounts; ``next_cursor`` goes into ``cursor``. */
export interface Accounts {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  items: Account[];
  next_cursor: string | null;
}

/** A decimal as plain text, without exponent */
export type Amount = string;

/** A stored row: who said what about which subject, and where it is shown; ``trade_id`` null: nowhere now. */
export interface Annotation {
  kind: "position" | "ibkr_trade" | "mt5_trade";
  book_id: string | null;
  subject_id: string;
  trade_id: string | null;
  ticker: string | null;
  is_detached: boolean;
  notes: string | null;
  tags: string[];
  strategy: string | null;
  is_hidden: boolean;
  hidden_ts: Milliseconds | null;
  hidden_at: Instant | null;
  /** What If-Match has to say */
  version: number;
  updated_ts: Milliseconds;
  updated_at: Instant;
  updated_by: string;
}

/** The row as it is stored now. */
export interface AnnotationAnswer {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  annotation: Annotation;
}

/** A page of words, last changed first. */
export interface AnnotationPage {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  next_cursor: string | null;
  notes: Annotation[];
}

/** Something open about a trade that waits for a person; ``details`` by kind. */
export interface Anomaly {
  anomaly_id: string;
  kind: string;
  subject: string;
  details: unknown;
  opened_ts: Milliseconds;
  opened_at: Instant;
}

/** What the broker says an account holds, in its currency, and when it said so. */
export interface Balances {
  currency: string | null;
  balance: Amount | null;
  equity: Amount | null;
  margin: Amount | null;
  free_margin: Amount | null;
  credit: Amount | null;
  floating_profit: Amount | null;
  margin_level_percent: Amount | null;
  ts: Milliseconds;
  at: Instant;
}

/** A book of the answer: up to which row it was read. */
export interface BookState {
  seq: number;
}

/** Open differences of a book by kind and cause. */
export interface BreakCount {
  kind: string;
  cause: string | null;
  count: number;
  oldest_ts: Milliseconds;
  oldest_at: Instant;
}

/** An execution as the broker told it, with what became of it. ``raw`` and ``history`` where they were asked for. */
export interface BrokerExecution {
  execution_id: string;
  trade_id: string;
  account_id: string;
  account_code: string;
  book_id: string;
  ib_exec_id: string;
  id_kind: "broker" | "transaction" | "trade";
  exec_id_base: string;
  exec_revision: number;
  settled_key: string;
  combo_key: string | null;
  correction_group: number;
  is_correctable: boolean;
  state: "live" | "superseded" | "voided" | "anomaly";
  is_canonical: boolean;
  supersedes_execution_id: string | null;
  voided_by_event_id: string | null;
  transaction_id: string | null;
  broker_trade_id: string | null;
  flex_order_id: string | null;
  ib_perm_id: string | null;
  ib_order_id: string | null;
  client_id: string | null;
  brokerage_order_id: string | null;
  order_ref: string | null;
  transaction_type: string;
  exec_role: "standalone" | "leg" | "combo_summary";
  conid: string;
  symbol: string;
  sec_type: string;
  underlying_symbol: string | null;
  fx_rate_to_base: Amount | null;
  multiplier: Amount | null;
  expiry: string | null;
  strike: Amount | null;
  put_call: string | null;
  executed_ts: Milliseconds;
  executed_at: Instant;
  executed_at_text: string;
  is_time_ambiguous: boolean;
  trade_day: string;
  report_date: string | null;
  side: "BUY" | "SELL";
  quantity: Amount;
  signed_quantity: Amount;
  price: Amount;
  cum_quantity: Amount | null;
  exchange: string | null;
  liquidity: string | null;
  currency: string;
  commission: Amount | null;
  commission_currency: string | null;
  taxes: Amount | null;
  broker_realized_pnl: Amount | null;
  notes: string[];
  open_close: string | null;
  sources: string[];
  fetched_ts: Milliseconds;
  fetched_at: Instant;
  created_ts: Milliseconds;
  created_at: Instant;
  updated_ts: Milliseconds;
  updated_at: Instant;
  raw?: unknown;
  history?: BrokerText[];
}

/** All rows of a trade, those that do not count too. */
export interface BrokerExecutions {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  trade_id: string;
  merged_into: string | null;
  items: BrokerExecution[];
}

/** One text the broker sent of an execution; the text itself for an admin key alone. */
export interface BrokerText {
  ib_exec_id: string;
  payload_hash: string;
  source: "statement" | "confirmation" | "tws";
  kind: "execution" | "commission";
  transaction_id: string | null;
  observed_ts: Milliseconds;
  observed_at: Instant;
  run_id: string;
  parser_version: number;
  recorded_ts: Milliseconds;
  recorded_at: Instant;
  raw?: unknown;
}

/** A trade of IBKR: one order, or what is held together like one. Sums count canonical executions only. */
export interface BrokerTrade {
  notes: string | null;
  tags: string[];
  notes_version: number | null;
  other_words?: OtherWords[];
  strategy: string | null;
  is_hidden: boolean;
  trade_id: string;
  account_id: string;
  account_code: string;
  book_id: string;
  match_kind: string;
  confidence: "high" | "medium" | "low";
  merged_into: string | null;
  ib_perm_id: string | null;
  ib_order_id: string | null;
  flex_order_id: string | null;
  client_id: string | null;
  conid: string | null;
  order_ref: string | null;
  symbol: string | null;
  sec_type: string | null;
  side: "BUY" | "SELL" | null;
  exchange: string | null;
  currency: string | null;
  trade_day: string | null;
  is_combo: boolean;
  status: "unknown" | "partial" | "filled" | "cancelled" | "expired" | "assigned" | "exercised";
  order_quantity: Amount | null;
  total_quantity: Amount;
  total_value: Amount | null;
  avg_price: Amount | null;
  commission: Amount | null;
  commission_currency: string | null;
  missing_commission_count: number;
  execution_count: number;
  canonical_count: number;
  first_executed_ts: Milliseconds | null;
  first_executed_at: Instant | null;
  last_executed_ts: Milliseconds | null;
  last_executed_at: Instant | null;
  fetched_ts: Milliseconds;
  fetched_at: Instant;
  created_ts: Milliseconds;
  created_at: Instant;
  updated_ts: Milliseconds;
  updated_at: Instant;
}

/** A trade with the keys that hold it together and what is open about it. */
export interface BrokerTradeWhole {
  notes: string | null;
  tags: string[];
  notes_version: number | null;
  other_words?: OtherWords[];
  strategy: string | null;
  is_hidden: boolean;
  trade_id: string;
  account_id: string;
  account_code: string;
  book_id: string;
  match_kind: string;
  confidence: "high" | "medium" | "low";
  merged_into: string | null;
  ib_perm_id: string | null;
  ib_order_id: string | null;
  flex_order_id: string | null;
  client_id: string | null;
  conid: string | null;
  order_ref: string | null;
  symbol: string | null;
  sec_type: string | null;
  side: "BUY" | "SELL" | null;
  exchange: string | null;
  currency: string | null;
  trade_day: string | null;
  is_combo: boolean;
  status: "unknown" | "partial" | "filled" | "cancelled" | "expired" | "assigned" | "exercised";
  order_quantity: Amount | null;
  total_quantity: Amount;
  total_value: Amount | null;
  avg_price: Amount | null;
  commission: Amount | null;
  commission_currency: string | null;
  missing_commission_count: number;
  execution_count: number;
  canonical_count: number;
  first_executed_ts: Milliseconds | null;
  first_executed_at: Instant | null;
  last_executed_ts: Milliseconds | null;
  last_executed_at: Instant | null;
  fetched_ts: Milliseconds;
  fetched_at: Instant;
  created_ts: Milliseconds;
  created_at: Instant;
  updated_ts: Milliseconds;
  updated_at: Instant;
  keys: string[];
  anomalies: Anomaly[];
}

/** A page of broker trades of one platform; ``next_cursor`` goes into ``cursor``. */
export interface BrokerTrades {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  items: (BrokerTrade | LinkedTrade)[];
  next_cursor: string | null;
}

/** A day of an account and the run that says so. */
export interface CoveredDay {
  account_id: string;
  day: string;
  state: "proven" | "provisional" | "gap" | "unknown" | "closed";
  run_id: string | null;
}

/** Every refusal and every failure. */
export interface Error {
  error: ErrorWords;
}

/** What went wrong, for programs and for people, and the id that finds the log line. */
export interface ErrorWords {
  code: string;
  message: string;
  request_id: string;
}

export interface Failure {
  class: string | null;
  text: string | null;
}

/** The share of active accounts whose last success is younger than ten minutes. */
export interface Fleet {
  active_accounts: number;
  fresh_accounts: number;
  fresh_percent: Percent | null;
  oldest_success_ts: Milliseconds | null;
  oldest_success_at: Instant | null;
}

/** ISO 8601, UTC, with milliseconds */
export type Instant = string;

/** What a run of a linked account brought, and after how many tries. */
export interface LinkedCounts {
  trades_synced: number;
  attempts: number;
}

/** What a deal did to a trade; ``server_time`` is the wall clock of the account's server. */
export interface LinkedDeal {
  deal_ticket: string;
  order_id: string;
  position_id: string;
  part: string;
  effect: string;
  server_time: string;
  deal_type: number;
  entry: number;
  reason: number | null;
  symbol: string;
  price: Amount;
  volume: Amount;
  profit: Amount;
  commission: Amount;
  swap: Amount;
  fee: Amount;
  net: Amount;
  is_certain: boolean;
  comment: string | null;
  external_id: string | null;
  magic: string | null;
  revision: number;
  recorded_ts: Milliseconds;
  recorded_at: Instant;
}

/** The linked accounts: all counted, the worst ones listed. */
export interface LinkedHealth {
  count: number;
  has_more: boolean;
  states: StateCounts;
  fleet: Fleet;
  accounts: LinkedSync[];
}

/** A run of a linked MT5 account. */
export interface LinkedRun {
  run_id: string;
  source: "mt5";
  kind: "scheduled" | "manual" | "backfill";
  state: "success" | "partial" | "failed" | "skipped";
  started_ts: Milliseconds;
  started_at: Instant;
  finished_ts: Milliseconds | null;
  finished_at: Instant | null;
  is_complete: boolean;
  window: ServerWindow | null;
  counts: LinkedCounts;
  error_class: string | null;
  error_text: string | null;
  duration_ms: number;
  duration_seconds: number;
}

/** How a linked MT5 account is followed. */
export interface LinkedSync {
  account_id: string;
  label: string;
  book_id: string;
  state: "ok" | "late" | "failing" | "needs_login" | "paused";
  last_sync_ts: Milliseconds | null;
  last_sync_at: Instant | null;
  last_success_ts: Milliseconds | null;
  last_success_at: Instant | null;
  lag_seconds: number | null;
  failures_in_a_row: number;
  last_error: Failure | null;
  next_due_ts: Milliseconds | null;
  next_due_at: Instant | null;
  cash_state: string | null;
  runs_24h: RunCounts;
}

/** A trade of a linked MT5 account: one life of a position. ``currency`` is the account's. */
export interface LinkedTrade {
  notes: string | null;
  tags: string[];
  notes_version: number | null;
  other_words?: OtherWords[];
  strategy: string | null;
  is_hidden: boolean;
  trade_id: string;
  account_id: string;
  book_id: string;
  platform: "MT5";
  broker_name: string;
  server: string;
  label: string;
  login_masked: string;
  currency: string | null;
  position_id: string;
  episode: number;
  ticket: string;
  symbol: string;
  symbol_norm: string;
  type: "buy" | "sell";
  status: "open" | "close_pending" | "closed";
  volume: Amount;
  open_volume: Amount;
  open_price: Amount | null;
  close_price: Amount | null;
  open_ts: Milliseconds | null;
  open_at: Instant | null;
  close_ts: Milliseconds | null;
  close_at: Instant | null;
  stop_loss: Amount | null;
  take_profit: Amount | null;
  current_price: Amount | null;
  profit: Amount | null;
  swap: Amount | null;
  commission: Amount | null;
  fee: Amount | null;
  realized_profit: Amount;
  realized_swap: Amount;
  net_pnl: Amount | null;
  comment: string | null;
  magic: string | null;
  close_reason: number | null;
  entry_complete: boolean;
  identity_quality: "deals" | "snapshot" | "paired";
  pending_polls: number;
  ledger_state: "none" | "held" | "booked";
  updated_ts: Milliseconds;
  updated_at: Instant;
}

/** A trade with the deals behind it, in their order. */
export interface LinkedTradeWhole {
  notes: string | null;
  tags: string[];
  notes_version: number | null;
  other_words?: OtherWords[];
  strategy: string | null;
  is_hidden: boolean;
  trade_id: string;
  account_id: string;
  book_id: string;
  platform: "MT5";
  broker_name: string;
  server: string;
  label: string;
  login_masked: string;
  currency: string | null;
  position_id: string;
  episode: number;
  ticket: string;
  symbol: string;
  symbol_norm: string;
  type: "buy" | "sell";
  status: "open" | "close_pending" | "closed";
  volume: Amount;
  open_volume: Amount;
  open_price: Amount | null;
  close_price: Amount | null;
  open_ts: Milliseconds | null;
  open_at: Instant | null;
  close_ts: Milliseconds | null;
  close_at: Instant | null;
  stop_loss: Amount | null;
  take_profit: Amount | null;
  current_price: Amount | null;
  profit: Amount | null;
  swap: Amount | null;
  commission: Amount | null;
  fee: Amount | null;
  realized_profit: Amount;
  realized_swap: Amount;
  net_pnl: Amount | null;
  comment: string | null;
  magic: string | null;
  close_reason: number | null;
  entry_complete: boolean;
  identity_quality: "deals" | "snapshot" | "paired";
  pending_polls: number;
  ledger_state: "none" | "held" | "booked";
  updated_ts: Milliseconds;
  updated_at: Instant;
  deals: LinkedDeal[];
  has_more_deals: boolean;
}

/** Epoch milliseconds */
export type Milliseconds = number;

/** One account. */
export interface OneAccount {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  account: Account;
}

/** One broker trade of whichever platform. */
export interface OneBrokerTrade {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  trade: BrokerTradeWhole | LinkedTradeWhole;
}

/** Words that came to a trade from another one; they are changed under the id they hang on. */
export interface OtherWords {
  subject_id: string;
  notes: string | null;
  tags: string[];
  /** What If-Match has to say */
  version: number;
  updated_ts: Milliseconds;
  updated_at: Instant;
}

/** Points, as text */
export type Percent = string;

/** Words about a position as they are sent; what is not named stays, null clears. */
export interface PositionNotes {
  notes?: string | null;
  tags?: string[] | null;
}

/** Runs of the last 24 hours by how they ended. */
export interface RunCounts {
  success: number;
  partial: number;
  failed: number;
  skipped: number;
}

/** What a run asked of history and what it covered; null: the window did not come whole. */
export interface ServerWindow {
  clock: "server";
  requested_from: string | null;
  requested_to: string | null;
  covered_to: string | null;
  past_from: string | null;
  until_before: string | null;
  until: string | null;
}

/** Accounts by state. */
export interface StateCounts {
  needs_login: number;
  failing: number;
  late: number;
  ok: number;
  paused: number;
}

/** Days by account, oldest first. ``has_more``: accounts were left out because their days are too many. */
export interface SyncCoverage {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  days: CoveredDay[];
}

/** How all accounts are followed. ``quarantine_unassigned``: rows that name no account of the desk. */
export interface SyncHealth {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  accounts: AccountSync[];
  quarantine_unassigned: Record<string, number>;
  mt5: LinkedHealth;
}

/** A run of an IBKR account: the window asked, what was really covered, counts by name. */
export interface SyncRun {
  run_id: string;
  source: "tws" | "flex";
  kind: "executions" | "positions";
  is_backfill: boolean;
  state: "running" | "complete" | "partial" | "failed" | "abandoned";
  started_ts: Milliseconds;
  started_at: Instant;
  finished_ts: Milliseconds | null;
  finished_at: Instant | null;
  requested_from_ts: Milliseconds;
  requested_from_at: Instant;
  requested_to_ts: Milliseconds;
  requested_to_at: Instant;
  covered_from_ts: Milliseconds | null;
  covered_from_at: Instant | null;
  covered_to_ts: Milliseconds | null;
  covered_to_at: Instant | null;
  earliest_seen_ts: Milliseconds | null;
  earliest_seen_at: Instant | null;
  latest_seen_ts: Milliseconds | null;
  latest_seen_at: Instant | null;
  is_complete: boolean;
  counts: Record<string, unknown>;
  error_class: string | null;
  duration_seconds: number | null;
}

/** A page of an account's runs, newest first; ``next_cursor`` goes into ``cursor``. */
export interface SyncRuns {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  items: (SyncRun | LinkedRun)[];
  next_cursor: string | null;
}

/** How a source of an IBKR account is followed, from its last run. */
export interface SyncSource {
  source: "tws" | "flex";
  kind: "executions" | "positions";
  run_id: string;
  state: "ok" | "late" | "failing" | "never";
  run_state: string;
  started_ts: Milliseconds;
  started_at: Instant;
  finished_ts: Milliseconds | null;
  finished_at: Instant | null;
  requested_from_ts: Milliseconds;
  requested_from_at: Instant;
  requested_to_ts: Milliseconds;
  requested_to_at: Instant;
  covered_from_ts: Milliseconds | null;
  covered_from_at: Instant | null;
  covered_to_ts: Milliseconds | null;
  covered_to_at: Instant | null;
  counts: Record<string, unknown> | null;
  error_class: string | null;
  lag_seconds: number | null;
  has_found_nothing: boolean;
  last_complete_ts: Milliseconds | null;
  last_complete_at: Instant | null;
  high_water_ts: Milliseconds | null;
  high_water_at: Instant | null;
}

/** Words about a broker's trade as they are sent. */
export interface TradeNotes {
  notes?: string | null;
  tags?: string[] | null;
  strategy?: string | null;
  is_hidden?: boolean | null;
}

/** What each operation answers. */
export interface Answers {
  "GET /openapi.json": Record<string, unknown>;
  "GET /timed/trades": Record<string, unknown>;
  "GET /timed/ledger/trades": Record<string, unknown>;
  "GET /timed/lanes": Record<string, unknown>;
  "GET /timed/health": Record<string, unknown>;
  "GET /timed/audit": Record<string, unknown>;
  "GET /api/v1/snapshot": Record<string, unknown>;
  "POST /timed/ledger/trades/{trade_id}/notes": AnnotationAnswer;
  "PATCH /timed/ledger/trades/{trade_id}/notes": AnnotationAnswer;
  "POST /api/v1/trades/{trade_id}/notes": AnnotationAnswer;
  "PATCH /api/v1/trades/{trade_id}/notes": AnnotationAnswer;
  "GET /timed/notes": AnnotationPage;
  "GET /api/v1/trades": BrokerTrades;
  "GET /api/v1/trades/{trade_id}": OneBrokerTrade;
  "GET /api/v1/trades/{trade_id}/executions": BrokerExecutions;
  "GET /api/v1/accounts": Accounts;
  "GET /api/v1/accounts/{account}": OneAccount;
  "GET /api/v1/accounts/{account}/sync-runs": SyncRuns;
  "GET /api/v1/sync/health": SyncHealth;
  "GET /api/v1/sync/coverage": SyncCoverage;
}

/** What is sent with an operation. */
export interface Bodies {
  "POST /timed/ledger/trades/{trade_id}/notes": PositionNotes;
  "PATCH /timed/ledger/trades/{trade_id}/notes": PositionNotes;
  "POST /api/v1/trades/{trade_id}/notes": TradeNotes;
  "PATCH /api/v1/trades/{trade_id}/notes": TradeNotes;
}
