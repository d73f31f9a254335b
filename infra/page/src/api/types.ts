// Made from the OpenAPI document by `python3 infra/dev.py table`; another form is a change of the answers' models.

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
  sources: fillbook__tracker__syncing_model__SyncSource[];
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

/** An execution by itself, as executed, with what its position was right after it. */
export interface Action {
  action_id: string;
  version: number;
  book_id: string;
  position_id: string;
  ticker: string;
  direction: "LONG" | "SHORT";
  ts: Milliseconds;
  at: Instant;
  session_date: string;
  action_type: "ENTRY" | "ADD_ENTRY" | "TRIM" | "EXIT";
  qty: Amount;
  price: Amount;
  value: Amount | null;
  fees: Amount | null;
  cash_effect: Amount | null;
  currency: string;
  pnl_realized: Amount | null;
  qty_after: Amount;
  vwap_after: Amount | null;
  cost_basis_after: Amount | null;
  realized_pnl_after: Amount | null;
  is_flat_after: boolean;
  reason: string | null;
  reason_text: string | null;
  origin: string;
  recorded_ts: Milliseconds;
  recorded_at: Instant;
}

/** A page of executions, newest first. */
export interface Actions {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  next_cursor: string | null;
  known_as_of_ts: Milliseconds;
  known_as_of_at: Instant;
  actions: Action[];
}

/** The day of the newest execution. */
export interface ActiveDay {
  date: string;
  day_start_ts: Milliseconds;
}

/** A page of what happened, newest first. */
export interface Activity {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  next_cursor: string | null;
  known_as_of_ts: Milliseconds;
  known_as_of_at: Instant;
  items: Item[];
}

/** When something last happened, or what waits longest has waited since; null: never, or nothing waits. It is ``late`` after
 * ``late_after_seconds`` and ``stale`` after ``stale_after_seconds``, or as many finished sessions as it lies behind; null: no age is
 * too old. ``resting``: it counts within sessions alone, and there is none now. */
export interface Age {
  ts: Milliseconds | null;
  at: Instant | null;
  state: "ok" | "late" | "stale" | "none" | "resting";
  late_after_seconds: number | null;
  stale_after_seconds: number | null;
  late_after_sessions: number | null;
  stale_after_sessions: number | null;
}

/** What is watched by its age. */
export interface Ages {
  last_receipt: Age;
  last_execution: Age;
  newest_mark: Age;
  outbox_oldest: Age;
  last_delivery: Age;
  last_audit: Age;
  last_chain_anchor: Age;
}

/** A decimal as plain text, without exponent */
export type Amount = string;

/** The end of a book's chain on a date, as it was posted too. */
export interface Anchor {
  anchored_on: string;
  seq: number;
  chain_head: string;
  recorded_ts: Milliseconds;
  recorded_at: Instant;
}

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

/** How the database answered. */
export interface Answering {
  ok: boolean;
  latency_ms: number;
}

/** An open position; ``trade_id`` is the whole number that the published day names it by. */
export interface Asset {
  trade_id: number;
  symbol: string | null;
  contract_name: string;
}

/** How the last audits ended. */
export interface Audited {
  state: "none yet" | "clean" | "findings";
  books: BookAudited[];
}

/** Per book what proves it; open differences in groups and one by one, oldest first, as many as are shown. */
export interface Audits {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  audits: BookAudit[];
  break_groups: BreakGroup[];
  breaks: OpenBreak[];
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

/** A rule that stood in the way, with what it compared. */
export interface Block {
  code: string;
  text: string;
  value: unknown;
  limit: unknown;
}

/** The last audit of a book, its comparisons and anchors, newest first; ``exit`` 0 is clean, null: never audited. */
export interface BookAudit {
  book_id: string;
  exit: number | null;
  ran_ts: Milliseconds | null;
  ran_at: Instant | null;
  seq: number | null;
  code_version: string | null;
  invariants: Invariant[];
  findings: fillbook__tracker__auditing_model__Finding[];
  warnings: Warned[];
  reconciliation: Compared | null;
  reconciliations: Compared[];
  chain_anchors: Anchor[];
}

/** How the last audit of a book ended. */
export interface BookAudited {
  book_id: string;
  exit: number;
  ran_ts: Milliseconds;
  ran_at: Instant;
}

/** A book that exists for the key. */
export interface BookSeen {
  book_id: string;
  kind: string;
  currency: string;
  is_closed: boolean;
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

/** Open differences of a kind and cause, by how many sessions they have been open. */
export interface BreakGroup {
  book_id: string;
  kind: string;
  cause: string;
  age: "0" | "1" | "2-5" | "6+";
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

/** A finished bucket: what it held, and the hash of all up to its end. */
export interface Bucket {
  bucket_ts: Milliseconds;
  bucket_at: Instant;
  rows: number;
  conflicts: number;
  actions: number;
  input_digest: string;
  state_digest: string;
  result_hash: string;
  recorded_ts: Milliseconds;
  recorded_at: Instant;
}

/** A page of a run's buckets, the oldest first. */
export interface Buckets {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  next_cursor: string | null;
  run_id: string;
  status: "planned" | "running" | "paused" | "done" | "failed" | "cancelled";
  buckets: Bucket[];
}

/** Trading days of a span, oldest first, and their weeks. */
export interface Calendar {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  known_as_of_ts: Milliseconds;
  known_as_of_at: Instant;
  first_date: string;
  last_date: string;
  count: number;
  days: Day[];
  weeks: Week[];
}

/** One ticker: where it stands and since when, why, why it is not traded, and the position the book has of it. ``position_id`` is of the
 * ledger: the open one (``position_status`` OPEN), or the one that the receipt of an exit closed. */
export interface Card {
  book_id: string;
  ticker: string;
  direction: "LONG" | "SHORT" | null;
  stage: string;
  previous_stage: string | null;
  moved_ts: Milliseconds;
  moved_at: Instant;
  moved: "forward" | "backward" | null;
  score: Amount | null;
  price: Amount | null;
  price_ts: Milliseconds | null;
  price_at: Instant | null;
  price_state: "fresh" | "stale" | "missing";
  day_change_percent: Percent | null;
  day_direction: "up" | "down" | "flat" | "unknown";
  badges: string[];
  reasons: Words[];
  block_reasons: Words[];
  position_id: string | null;
  position_status: "OPEN" | "CLOSED" | null;
  receipt_id: string | null;
}

/** A channel: how much waits, until when it rests (``paused_until``), and why it stands still (``status``). */
export interface Channel {
  channel_id: "executions" | "ops" | "lanes";
  kind: "executions" | "ops" | "lanes";
  status: "active" | "paused" | "disabled";
  status_reason: string | null;
  status_ts: Milliseconds | null;
  status_at: Instant | null;
  digest: boolean;
  pending: number;
  ambiguous: number;
  dead: number;
  oldest_pending_ts: Milliseconds | null;
  oldest_pending_at: Instant | null;
  last_posted_ts: Milliseconds | null;
  last_posted_at: Instant | null;
  paused_until_ts: Milliseconds | null;
  paused_until_at: Instant | null;
  paused_reason: string | null;
}

/** All channels. */
export interface Channels {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  channels: Channel[];
}

/** The part of a lot that an execution closed, in today's units. */
export interface ClosedLot {
  lot_id: string;
  qty: Amount;
  lot_price: Amount;
  pnl_realized: Amount | null;
}

/** A part of a lot that an action closed. */
export interface Closing {
  lot_id: string;
  qty: Amount;
  lot_price: Amount;
  pnl_realized: Amount | null;
  action_id: string;
  ts: Milliseconds;
  at: Instant;
}

/** Two runs, or a run and ``live``; ``date`` narrows both to one session. */
export interface CompareOrder {
  left: string;
  right: string;
  date?: string | null;
}

/** A comparison of a book with a statement of its broker. */
export interface Compared {
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  recorded_ts: Milliseconds;
  recorded_at: Instant;
  source: string;
  version: number;
  result: "matched" | "breaks" | "inconclusive";
  reason: string | null;
  breaks_found: number;
  breaks_open: number;
  breaks_resolved: number;
}

/** What one side made of a position within what was compared. */
export interface ComparedTrade {
  position_id: string;
  action_count: number;
  entry_ts: Milliseconds;
  entry_at: Instant;
  realized_pnl: Amount | null;
}

/** The last stored comparison of two sides; ``difference`` is right less left. Trades that differ come first. */
export interface ComparisonAnswer {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  comparison_id: string;
  compared_ts: Milliseconds;
  compared_at: Instant;
  date: string | null;
  identical: boolean;
  left: Side;
  right: Side;
  difference: Totals;
  positions: PositionCounts;
  tickers: number;
  divergent: number;
  first_divergence: Divergence | null;
  divergences: Divergence[];
  has_more_divergences: boolean;
  trades: TradePair[];
  has_more: boolean;
}

/** A counted day and its price. Everything is null where nobody counted: in a cloud the bill itself is the truth. ``month`` is computed
 * from this one day: 21 such sessions and 30 days of schedules; ``idle_month``: nobody trades. ``not_measured`` names the schedules
 * that were not called in the day and are not in the price. ``is_simulated``: the day's clock ran faster than the wall. */
export interface Cost {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  day: string | null;
  days: string[];
  source: string | null;
  is_simulated: boolean | null;
  counted_until_ts: Milliseconds | null;
  counted_until_at: Instant | null;
  prices: CostPrices | null;
  functions: CostFunction[] | null;
  database: CostDatabase | null;
  message_bytes: number | null;
  lines: CostLine[] | null;
  month: Amount | null;
  idle_month: Amount | null;
  not_measured: string[] | null;
}

/** What the database counted in the day. */
export interface CostDatabase {
  rows_written: number;
  rows_read: number;
  transactions: number;
  log_ahead_bytes: number;
  size_bytes: number;
  processor_seconds: number | null;
}

/** What a function used in the day. ``billed_seconds``: an instance was in work; ``month``: what it bears of the price. */
export interface CostFunction {
  function: string;
  requests: number;
  failed: number;
  billed_seconds: Amount;
  processor_seconds: Amount | null;
  peak_bytes: number | null;
  log_bytes: number | null;
  sent_bytes: number;
  month: Amount | null;
}

/** One line of the month's bill; ``net`` after the free amounts, which are given once over all owners together. */
export interface CostLine {
  owner: string;
  service: string;
  measure: string;
  quantity: Amount;
  unit: string;
  gross: Amount;
  net: Amount;
}

/** Whose prices, and of when. */
export interface CostPrices {
  source: string;
  as_of: string;
  region: string;
  currency: string;
}

/** What a run compared and found. */
export interface Counts {
  actions: number;
  messages: number;
  equal: number;
  missing: number;
  wrong: number;
  double: number;
  orphan: number;
  unverifiable: number;
  repaired: number;
}

/** A day of an account and the run that says so. */
export interface CoveredDay {
  account_id: string;
  day: string;
  state: "proven" | "provisional" | "gap" | "unknown" | "closed";
  run_id: string | null;
}

/** A trading day in one currency; ``open_at_close``: positions that were open when the day had ended. */
export interface Day {
  entries: number;
  adds: number;
  trims: number;
  exits: number;
  wins: number;
  losses: number;
  flats: number;
  pending: number;
  date: string;
  currency: string;
  realized_pnl: Amount | null;
  fees: Amount | null;
  open_at_close: number;
}

/** How whole a day was before it was run. */
export interface DayGaps {
  date: string;
  grade: "complete" | "thin" | "gap";
  buckets_expected: number;
  buckets_present: number;
  empty: Stretch[];
  tickers_seen: number;
  unseen: string[];
  minutes_expected: number;
  minutes_present: number;
  by_script: Record<string, number>;
  by_result: Record<string, number>;
  quarantined: number;
  tickers: TickerGaps[];
}

/** A published day in the list of days. */
export interface DayNamed {
  date: string;
  stage: string | null;
  version: number;
  headline: string;
  updated_ts: Milliseconds;
  updated_at: Instant;
  restated: number;
}

/** Dead letters of one channel and reason. */
export interface DeadGroup {
  channel_id: "executions" | "ops" | "lanes";
  reason: string;
  count: number;
  oldest_ts: Milliseconds;
  oldest_at: Instant;
  newest_ts: Milliseconds;
  newest_at: Instant;
  remedy: Remedy;
}

/** A page of the delivery log, newest request first. */
export interface Deliveries {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  next_cursor: string | null;
  deliveries: Delivery[];
}

/** One request to Discord for one subject. ``http_status`` null: no answer; ``response_excerpt`` for an admin key alone. */
export interface Delivery {
  attempt_id: string;
  channel_id: "executions" | "ops" | "lanes";
  subject_key: string;
  subject_kind: "execution" | "ops" | "lane";
  book_id: string | null;
  action_id: string | null;
  position_id: string | null;
  operation: "create" | "edit" | "delete" | "get";
  started_ts: Milliseconds;
  started_at: Instant;
  finished_ts: Milliseconds | null;
  finished_at: Instant | null;
  http_status: number | null;
  discord_code: number | null;
  wait_seconds: Amount | null;
  message_id: string | null;
  error: string | null;
  response_excerpt: string | null;
}

/** Whether the desk's clock shows another time than the wall. */
export interface DeskClock {
  is_simulated: boolean;
}

/** The first difference of a ticker: where, in which field, why; ``later_count`` more of it follow from it. */
export interface Divergence {
  ticker: string;
  bucket_ts: Milliseconds;
  bucket_at: Instant;
  ts: Milliseconds;
  at: Instant;
  receipt_id: string | null;
  field: string;
  cause: "input" | "start" | "config" | "facts" | "code";
  rule: string | null;
  left: SideOfDivergence;
  right: SideOfDivergence;
  detail: unknown;
  is_outcome: boolean;
  later_count: number;
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

/** A lot that an event opened or closed a part of, as executed. */
export interface EventLot {
  lot_id: string | null;
  qty: Amount;
  price: Amount;
  pnl_realized: Amount | null;
}

/** The fact behind an action: the fill as its source told it, under the source's own ids. */
export interface Evidence {
  action_id: string;
  fill_id: string;
  version: number;
  source: string;
  account_key: string;
  source_id: string;
  source_revision: number;
  is_bust: boolean;
  venue_order: string;
  side: "BUY" | "SELL";
  qty: Amount;
  price: Amount;
  fees: Amount | null;
  fees_currency: string | null;
  executed_ts: Milliseconds;
  executed_at: Instant;
  received_ts: Milliseconds;
  received_at: Instant;
  recorded_ts: Milliseconds;
  recorded_at: Instant;
  origin: string;
  cause: string;
  content_hash: string;
}

/** The exchange now: the day to which what happens now belongs; ``today`` null where today has no session. */
export interface Exchange {
  name: string;
  time_zone: string;
  phase: "pre" | "regular" | "post" | "closed";
  trading_day: string;
  today: ExchangeDay | null;
  last: ExchangeDay;
  next: ExchangeDay;
}

/** A session of the exchange. */
export interface ExchangeDay {
  date: string;
  open_ts: Milliseconds;
  open_at: Instant;
  close_ts: Milliseconds;
  close_at: Instant;
  is_half_day: boolean;
}

/** What a fill did to a position, as executed; ``message`` null: of another moment. */
export interface Execution {
  action_id: string;
  version: number;
  ts: Milliseconds;
  at: Instant;
  action_type: "ENTRY" | "ADD_ENTRY" | "TRIM" | "EXIT";
  qty: Amount;
  price: Amount;
  value: Amount | null;
  fees: Amount | null;
  pnl_realized: Amount | null;
  lots: ClosedLot[];
  qty_after: Amount;
  vwap_after: Amount | null;
  reason: string | null;
  reason_text: string | null;
  message: fillbook__tracker__trades_model__Message | null;
}

/** What was executed in the range; of tickers those with the most executions. */
export interface Executions {
  count: number;
  by_day: OnADay[];
  by_ticker: OfATicker[];
}

/** A trade at an end of a figure. */
export interface Extreme {
  kpi: string;
  side: "hi" | "lo";
  rank: number;
  trade_id: number | null;
  symbol: string | null;
  contract_name: string;
  metric_raw: Amount | null;
  metric_abs: Amount | null;
  individual_pnl: Amount | null;
  abs_individual_pnl: Amount | null;
  change_percent: Amount | null;
  cost_basis: Amount | null;
  qty: Amount | null;
  bid_price: Amount | null;
  ask_price: Amount | null;
  mid_price: Amount | null;
  mid_ts: Milliseconds | null;
  mid_at: Instant | null;
  mid_mark_pnl: Amount | null;
  liquidity_drag: Amount | null;
}

/** The trades at the ends of the figures of a day, by figure, side and rank. */
export interface Extremes {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  date: string;
  version: number;
  currency: string;
  count: number;
  items: Extreme[];
}

/** What a link says; each has its own, those it has not are left out. */
export interface Facts {
  book_id?: string;
  ticker?: string;
  source?: string;
  source_id?: string;
  script_version?: string;
  payload_hash?: string;
  result?: string;
  repairs?: string[];
  bar_ts?: Milliseconds;
  bar_at?: Instant;
  lane?: string;
  computed_lane?: string;
  rule?: string | null;
  reason?: string | null;
  reason_text?: string | null;
  direction?: string | null;
  score?: Amount | null;
  badges?: string[];
  inputs?: Record<string, unknown>;
  compared?: unknown[][];
  block_reasons?: Block[];
  profile?: string;
  kind?: string;
  refused_by?: string[];
  version?: number | null;
  posted_version?: number | null;
  state?: string;
  cause?: string;
  action_type?: string;
  position_id?: string;
  executed_ts?: Milliseconds;
  executed_at?: Instant;
  qty?: Amount | null;
  price?: Amount | null;
  value?: Amount | null;
  fees?: Amount | null;
  pnl_realized?: Amount | null;
  lot_price?: Amount | null;
  currency?: string;
  event_type?: string;
  published_ts?: Milliseconds | null;
  published_at?: Instant | null;
  channel?: string;
  message_id?: string | null;
  url?: string | null;
  date?: string;
  stage?: string | null;
  display?: string;
  unit?: string | null;
}

/** Why the last run did not end well: its class and the words it may be told in. */
export interface Failure {
  class: string | null;
  text: string | null;
}

/** A field of a message that is not what the ledger says; null: it is not there. */
export interface FieldDifference {
  field: string;
  expected: string | null;
  found: string | null;
}

/** The figures and words of an item; each kind has its own, those it has not are left out. */
export interface Figures {
  action_type?: string;
  direction?: string;
  qty?: Amount | null;
  price?: Amount | null;
  value?: Amount | null;
  fees?: Amount | null;
  pnl_realized?: Amount | null;
  pnl_before?: Amount | null;
  currency?: string;
  version?: number | null;
  reason?: string | null;
  reason_text?: string | null;
  from_lane?: string | null;
  lane?: string;
  score?: Amount | null;
  receipt_id?: string;
  state?: string;
  message_id?: string | null;
  url?: string | null;
  date?: string;
  stage?: string | null;
  target?: string;
  source?: string;
  error?: string | null;
  rows?: number;
  run_id?: string;
}

/** The first action in which both sides differ, and in what; null: that side has none there. */
export interface FirstDifference {
  ts: Milliseconds;
  at: Instant;
  action_id: string;
  field: "action" | "action_type" | "quantity" | "price" | "realized_pnl";
  left: string | null;
  right: string | null;
}

/** An action of the flat shape: the columns of ``ledger.v_trade_events``. */
export interface FlatEvent {
  event_id: string;
  trade_id: string;
  book_id: string;
  tenant_id: string;
  ts: Milliseconds;
  type: "ENTRY" | "ADD_ENTRY" | "TRIM" | "EXIT";
  price: Amount;
  qty: Amount;
  value: Amount | null;
  pnl_realized: Amount | null;
  reason: string | null;
  meta_json: Record<string, unknown>;
  lot_id: string | null;
  lots: EventLot[] | null;
  qty_pct_delta: Amount | null;
  qty_pct_total: Amount | null;
}

/** A position of the flat shape: the columns of ``ledger.v_trades``; ``trimmed_pct`` is 0 to 1, ``pnl_pct`` in points. */
export interface FlatTrade {
  trade_id: string;
  book_id: string;
  tenant_id: string;
  ticker: string;
  direction: "LONG" | "SHORT";
  entry_ts: Milliseconds;
  exit_ts: Milliseconds | null;
  trim_ts: Milliseconds | null;
  created_at: Milliseconds;
  updated_at: Milliseconds;
  entry_price: Amount | null;
  total_qty: Amount;
  cost_basis: Amount | null;
  status: "OPEN" | "TP_HIT_TRIM" | "WIN" | "LOSS" | "FLAT" | "CLOSED";
  exit_price: Amount | null;
  exit_reason: string | null;
  trim_price: Amount | null;
  trimmed_pct: Amount;
  pnl: Amount | null;
  pnl_pct: Amount | null;
  rank: string | null;
  rr: string | null;
  script_version: string | null;
  lots: Lot[];
  execution_actions: FlatEvent[];
}

/** A page of positions in the flat shape, newest entry first. */
export interface FlatTrades {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  next_cursor: string | null;
  known_as_of_ts: Milliseconds;
  known_as_of_at: Instant;
  trades: FlatTrade[];
}

/** The share of active accounts whose last success is younger than ten minutes. */
export interface Fleet {
  active_accounts: number;
  fresh_accounts: number;
  fresh_percent: Percent | null;
  oldest_success_ts: Milliseconds | null;
  oldest_success_at: Instant | null;
}

/** The results of a group; ``key`` is null for what carries no such word. */
export interface Group {
  entries: number;
  adds: number;
  trims: number;
  exits: number;
  wins: number;
  losses: number;
  flats: number;
  pending: number;
  currency: string;
  trades: number;
  open: number;
  closed: number;
  win_rate_percent: Percent | null;
  realized_pnl: Amount | null;
  fees: Amount | null;
  gross_win: Amount | null;
  gross_loss: Amount | null;
  profit_factor: Amount | null;
  avg_win: Amount | null;
  avg_loss: Amount | null;
  expectancy: Amount | null;
  best: Amount | null;
  worst: Amount | null;
  avg_hold_seconds: number | null;
  key: string | null;
}

/** The desk's condition; ``degraded`` names in ``reasons`` what is not well, ``down``: its schema is not the code's. */
export interface Health {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  status: "ok" | "degraded" | "down";
  reasons: string[];
  database: Answering;
  ages: Ages;
  outbox: Outbox;
  messages: fillbook__tracker__health_model__Messages;
  dead_letters: fillbook__tracker__health_model__DeadLetters;
  channels: StandingStill[];
  sources: fillbook__tracker__health_model__SyncSource[];
  snapshot: SnapshotFreshness;
  audit: Audited;
  migrations: Migrations;
  build: string;
  session: Hours;
  activity: ActiveDay;
  clock: DeskClock;
}

/** The session a screen calls today. */
export interface Hours {
  date: string;
  day_start_ts: Milliseconds;
  phase: string;
}

/** ISO 8601, UTC, with milliseconds */
export type Instant = string;

/** Something a book must hold; ``state`` by the last audit. */
export interface Invariant {
  number: number;
  name: string;
  state: "held" | "violated" | "unknown";
  findings: number;
}

/** One thing that happened. */
export interface Item {
  id: string;
  kind: "execution" | "correction" | "lane_move" | "message" | "snapshot" | "sync" | "replay";
  ts: Milliseconds;
  at: Instant;
  book_id: string | null;
  ticker: string | null;
  title: string;
  figures: Figures;
  position_id: string | null;
  action_id: string | null;
}

/** The key that asked. */
export interface KeySeen {
  id: string;
  tenant_id: string;
  scopes: string[];
  books: string[];
  expires_ts: Milliseconds | null;
  expires_at: Instant | null;
}

/** A figure: its display text, its exact number, and why there is none. */
export interface Kpi {
  kpi: string;
  value: string;
  value_num: Amount | null;
  kind: string;
  unit: string | null;
  sort_order: number;
  missing_reason: string | null;
}

/** A column of the board. ``holds``: what the rules leave there; ``position``: whether any card's ticker has an open one. */
export interface Lane {
  key: string;
  title: string;
  stages: string[];
  holds: "no" | "open" | "closed";
  position: boolean;
  count: number;
  cards: Card[];
}

/** All lanes in their order; ``count`` is of all tickers, whatever is shown of them. */
export interface Lanes {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  lanes: Lane[];
}

/** A link of the chain; ``gap_ms`` is the time since the one before that has a time, ``note`` says why one is not there. */
export interface Link {
  link: "receipt" | "signal" | "lane" | "intent" | "fill" | "action" | "closing" | "event" | "message" | "kpi";
  state: "found" | "missing" | "not_yet" | "not_applicable";
  id: string | null;
  ts: Milliseconds | null;
  at: Instant | null;
  gap_ms: number | null;
  note: string | null;
  facts: Facts;
}

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
  part: number;
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

/** A lot, in today's units; ``cost_basis`` of the whole lot, fees included, ``value`` without them. */
export interface Lot {
  lot_id: string;
  ts: Milliseconds;
  at: Instant;
  qty: Amount;
  price: Amount;
  value: Amount | null;
  remaining_qty: Amount;
  cost_basis: Amount | null;
  unrealized_pnl: Amount | null;
  status: "OPEN" | "CLOSED";
}

/** A lot by itself, with what names its position. */
export interface LotAlone {
  lot_id: string;
  ts: Milliseconds;
  at: Instant;
  qty: Amount;
  price: Amount;
  value: Amount | null;
  remaining_qty: Amount;
  cost_basis: Amount | null;
  unrealized_pnl: Amount | null;
  status: "OPEN" | "CLOSED";
  position_id: string;
  book_id: string;
  ticker: string;
  direction: "LONG" | "SHORT";
  currency: string;
}

/** Lots by themselves, those of the newest position first. */
export interface Lots {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  next_cursor: string | null;
  known_as_of_ts: Milliseconds;
  known_as_of_at: Instant;
  lots: LotAlone[];
}

/** A price, in today's units of the instrument. ``state`` is ``stale`` for one that had become too old before the next one came, the
 * last one: that is too old now. */
export interface Mark {
  ts: Milliseconds;
  at: Instant;
  book_id: string;
  price: Amount;
  bid: Amount | null;
  ask: Amount | null;
  state: "fresh" | "stale";
}

/** The marks of an instrument in a range, oldest first. ``has_more``: older ones than fit are left out. */
export interface Marks {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  instrument: string;
  count: number;
  has_more: boolean;
  points: Mark[];
}

/** The schema that the code needs, and the one that is there. */
export interface Migrations {
  expected: string;
  applied: string | null;
  ok: boolean;
}

/** Epoch milliseconds */
export type Milliseconds = number;

/** A ticker's move from lane to lane, as shown; ``left`` null: it stands there now. */
export interface Move {
  book_id: string;
  ticker: string;
  seq: number;
  from_stage: string | null;
  stage: string;
  moved: "forward" | "backward" | null;
  ts: Milliseconds;
  at: Instant;
  left_ts: Milliseconds | null;
  left_at: Instant | null;
  rule: string;
  rule_text: string;
  reason: Words;
  block_reasons: Words[];
  badges: string[];
  price: Amount;
  score: Amount | null;
  receipt_id: string;
  action_ids: string[];
}

/** A page of moves, newest first. */
export interface Moves {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  next_cursor: string | null;
  moves: Move[];
}

/** Of a ticker. */
export interface OfATicker {
  currency: string;
  count: number;
  realized_pnl: Amount | null;
  ticker: string;
}

/** Of a trading day. */
export interface OnADay {
  currency: string;
  count: number;
  realized_pnl: Amount | null;
  date: string;
}

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

/** One run. */
export interface OneRun {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  run: RunWhole;
}

/** An open difference between a book and its broker; ``sessions``: its age. */
export interface OpenBreak {
  break_id: string;
  book_id: string;
  kind: string;
  instrument: string | null;
  ticker: string | null;
  direction: string | null;
  currency: string | null;
  expected: Amount | null;
  actual: Amount | null;
  difference: Amount | null;
  cause: string;
  note: string | null;
  sessions: number;
  first_seen_ts: Milliseconds;
  first_seen_at: Instant;
  last_seen_ts: Milliseconds;
  last_seen_at: Instant;
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

/** Events on their way out; ``parked`` could not be published. */
export interface Outbox {
  depth: number;
  parked: number;
}

/** A message of an execution, with the versions wanted and posted. */
export interface OwnMessage {
  state: "proven" | "posted" | "pending" | "ambiguous" | "dead" | "missing" | "wrong" | "double" | "orphan" | "unverifiable" | "suppressed" | "muted" | "removed" | "none";
  message_id: string | null;
  url: string | null;
  posted_ts: Milliseconds | null;
  posted_at: Instant | null;
  action_id: string;
  channel_id: string;
  wanted_version: number;
  posted_version: number | null;
  proven_ts: Milliseconds | null;
  proven_at: Instant | null;
}

/** Points, as text */
export type Percent = string;

/** What one currency was worth at an instant; ``state``: ``ledger`` without a mark, ``live`` or ``stale``. */
export interface Point {
  ts: Milliseconds;
  at: Instant;
  currency: string;
  equity: Amount;
  state: string;
}

/** The account, its curve without invented points, and its executions. ``date`` is the trading day of ``as_of``, ``valuation_at`` when
 * its marks were looked at. */
export interface Portfolio {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  date: string;
  valuation_ts: Milliseconds;
  valuation_at: Instant;
  range: string;
  totals: Worth[];
  curve: Point[];
  executions: Executions;
}

/** How many positions were alike when they were compared. */
export interface PositionCounts {
  equal: number;
  left_only: number;
  right_only: number;
  different: number;
}

/** Words about a position as they are sent; what is not named stays, null clears. */
export interface PositionNotes {
  notes?: string | null;
  tags?: string[] | null;
}

/** How far a run is. ``buckets_total`` null: it was made without a gap report. */
export interface Progress {
  buckets_done: number;
  buckets_total: number | null;
  bucket_ts: Milliseconds | null;
  bucket_at: Instant | null;
  rows: number;
  rows_per_second: Amount | null;
}

/** A run that compared what stands on Discord with the ledger: its window, what it counted, how it ended. */
export interface Proof {
  run_id: string;
  channel_id: "executions" | "ops" | "lanes";
  status: "queued" | "running" | "proven" | "repaired" | "open" | "aborted";
  reason: string | null;
  is_repairing: boolean;
  requested_by: string;
  since_ts: Milliseconds;
  since_at: Instant;
  until_ts: Milliseconds;
  until_at: Instant;
  queued_ts: Milliseconds;
  queued_at: Instant;
  started_ts: Milliseconds | null;
  started_at: Instant | null;
  finished_ts: Milliseconds | null;
  finished_at: Instant | null;
  counts: Counts;
}

/** Whose messages are compared with the ledger: executions in [since, until), 31 days at most. Repaired unless told not to. */
export interface ProofOrder {
  /** ISO with its zone, epoch milliseconds, or a New York date (its midnight) */
  since: string | number;
  /** ISO with its zone, epoch milliseconds, or a New York date (its midnight) */
  until: string | number;
  repair?: boolean;
}

/** The run that was queued. */
export interface ProofStarted {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  run_id: string;
}

/** A page of runs, newest first, and what those on it found, newest first. */
export interface Proofs {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  next_cursor: string | null;
  runs: Proof[];
  findings: fillbook__tracker__messages_model__Finding[];
  has_more_findings: boolean;
}

/** How the newest publication of the day ended. */
export interface Publication {
  status: string;
  target: string;
  verified: boolean | null;
  finished_ts: Milliseconds;
  finished_at: Instant;
}

/** The day asked for, else the newest; null where none is published. */
export interface Published {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  snapshot: PublishedDay | null;
}

/** Published days, the latest first. */
export interface PublishedDates {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  next_cursor: string | null;
  items: DayNamed[];
}

/** A day as it stands published. */
export interface PublishedDay {
  date: string;
  stage: "premarket" | "intraday" | "final" | null;
  version: number;
  kpi_version: number | null;
  content_sha256: string;
  headline: string;
  summary: string;
  counts: Record<string, number> | null;
  books: string[];
  updated_ts: Milliseconds;
  updated_at: Instant;
  received_ts: Milliseconds;
  received_at: Instant;
  watermark: Record<string, unknown> | null;
  publication: Publication | null;
  kpis: Kpi[];
  assets: Asset[];
}

/** What a run's book realized in one currency; null where a part of it is not known. */
export interface Realized {
  currency: string;
  realized_pnl: Amount | null;
}

/** What a person does about dead letters of a reason: in words, and the command. */
export interface Remedy {
  text: string;
  command: string;
}

/** What is to be run again beside the live book: a date, a range, or lists (a sweep). Names are those of ``replay_worker``. */
export interface ReplayOrder {
  date?: string;
  from?: string;
  to?: string;
  ticker?: string | null;
  name?: string;
  mode?: "full" | "incremental";
  scriptVersion?: string;
  profile?: string;
  session?: "regular" | "all";
  inputs?: "all" | "as_decided";
  start?: "empty" | "live";
  facts?: "own" | "recorded";
  cleanSlate?: boolean;
  requireComplete?: boolean;
  acceptCode?: boolean;
  dates?: string[];
  profiles?: string[];
  tickers?: string[];
}

/** The runs that were made; ``run_id`` is the first of them. */
export interface ReplayRuns {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  run_id: string;
  runs: string[];
}

/** What a later version of a final day changed; ``late_actions`` are its cause. */
export interface Restatement {
  date: string;
  version: number;
  subject: string;
  name: string;
  old_text: string | null;
  new_text: string | null;
  old_num: Amount | null;
  new_num: Amount | null;
  difference: Amount | null;
  recorded_ts: Milliseconds;
  recorded_at: Instant;
  late_actions: unknown[] | null;
}

/** What was restated, the latest first. */
export interface Restatements {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  next_cursor: string | null;
  items: Restatement[];
}

/** The results of one currency. ``trades`` = positions with activity, ``closed`` = those closed by it, ``open`` = the others.
 * ``realized_pnl``, ``fees`` and the two gross amounts are sums over the executions; rates, averages, ``best`` and ``worst`` are of
 * whole closed positions. ``gross_win`` and ``gross_loss`` are the gaining and the losing parts, lot by lot, as on a published day. */
export interface Results {
  entries: number;
  adds: number;
  trims: number;
  exits: number;
  wins: number;
  losses: number;
  flats: number;
  pending: number;
  currency: string;
  trades: number;
  open: number;
  closed: number;
  win_rate_percent: Percent | null;
  realized_pnl: Amount | null;
  fees: Amount | null;
  gross_win: Amount | null;
  gross_loss: Amount | null;
  profit_factor: Amount | null;
  avg_win: Amount | null;
  avg_loss: Amount | null;
  expectancy: Amount | null;
  best: Amount | null;
  worst: Amount | null;
  avg_hold_seconds: number | null;
}

/** A run: what was asked, what it pins, how far it is, and what came of it. */
export interface Run {
  run_id: string;
  name: string | null;
  kind: "bucket" | "day" | "range" | "parity" | "catch_up";
  book_id: string;
  date_from: string;
  date_to: string;
  ticker: string | null;
  script_version: string;
  session: "regular" | "all";
  inputs: "all" | "as_decided";
  start: "empty" | "live";
  facts: "own" | "recorded";
  profile: string;
  config_digest: string;
  code_version: string;
  accepted_code: string[];
  input_digest: string | null;
  status: "planned" | "running" | "paused" | "done" | "failed" | "cancelled";
  progress: Progress;
  conflicts: number;
  trades_created: number;
  trades_purged: number;
  realized: Realized[];
  grade: "complete" | "thin" | "gap" | null;
  result_hash: string | null;
  state_hash: string | null;
  ticker_pass: boolean;
  error: string | null;
  pinned: boolean;
  created_by: string;
  created_ts: Milliseconds;
  created_at: Instant;
  started_ts: Milliseconds | null;
  started_at: Instant | null;
  finished_ts: Milliseconds | null;
  finished_at: Instant | null;
  wall_seconds: Amount;
}

/** Runs of the last 24 hours by how they ended. */
export interface RunCounts {
  success: number;
  partial: number;
  failed: number;
  skipped: number;
}

/** A run with the gaps found before it; null: none were looked for. */
export interface RunWhole {
  run_id: string;
  name: string | null;
  kind: "bucket" | "day" | "range" | "parity" | "catch_up";
  book_id: string;
  date_from: string;
  date_to: string;
  ticker: string | null;
  script_version: string;
  session: "regular" | "all";
  inputs: "all" | "as_decided";
  start: "empty" | "live";
  facts: "own" | "recorded";
  profile: string;
  config_digest: string;
  code_version: string;
  accepted_code: string[];
  input_digest: string | null;
  status: "planned" | "running" | "paused" | "done" | "failed" | "cancelled";
  progress: Progress;
  conflicts: number;
  trades_created: number;
  trades_purged: number;
  realized: Realized[];
  grade: "complete" | "thin" | "gap" | null;
  result_hash: string | null;
  state_hash: string | null;
  ticker_pass: boolean;
  error: string | null;
  pinned: boolean;
  created_by: string;
  created_ts: Milliseconds;
  created_at: Instant;
  started_ts: Milliseconds | null;
  started_at: Instant | null;
  finished_ts: Milliseconds | null;
  finished_at: Instant | null;
  wall_seconds: Amount;
  gaps: DayGaps[] | null;
}

/** A page of runs, youngest first. */
export interface Runs {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  next_cursor: string | null;
  runs: Run[];
}

/** The points of a figure on a day, oldest first. */
export interface Series {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  date: string;
  version: number;
  kpi: string;
  count: number;
  points: SeriesPoint[];
}

/** A figure at an instant; ``source``: ledger, live or stale. */
export interface SeriesPoint {
  ts: Milliseconds;
  at: Instant;
  value: Amount;
  source: string | null;
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

/** Who asks, which books exist for it, and what time it is. ``server`` is the desk's clock. */
export interface Session {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  server_ts: Milliseconds;
  server_at: Instant;
  is_simulated: boolean;
  key: KeySeen;
  visible: BookSeen[];
  exchange: Exchange;
  versions: Versions;
}

/** One side of a comparison: ``live`` or a run. */
export interface Side {
  label: string;
  book_id: string;
  name: string | null;
  profile: string | null;
  status: "planned" | "running" | "paused" | "done" | "failed" | "cancelled" | null;
  totals: Totals;
}

/** What one side has there, and the rule's sentence for it. */
export interface SideOfDivergence {
  value: unknown;
  rule_text: string | null;
}

/** Whether the published day is as far as it should be by now; ``stage`` null: the day that is due is not there. */
export interface SnapshotFreshness {
  state: "fresh" | "late" | "stale" | "closed";
  due_date: string;
  due_stage: string;
  due_ts: Milliseconds;
  due_at: Instant;
  latest_date: string | null;
  latest_stage: string | null;
  latest_version: number | null;
}

/** A channel that does not post; ``until`` null: until somebody switches it on. */
export interface StandingStill {
  channel_id: string;
  status: string;
  status_reason: string | null;
  until_ts: Milliseconds | null;
  until_at: Instant | null;
}

/** Accounts by state. */
export interface StateCounts {
  needs_login: number;
  failing: number;
  late: number;
  ok: number;
  paused: number;
}

/** Missing buckets in a row: the first and the last of them. */
export interface Stretch {
  first_ts: Milliseconds;
  first_at: Instant;
  last_ts: Milliseconds;
  last_at: Instant;
}

/** The results of a range: per currency, by group, and what the groups that are not shown add up to. */
export interface Summary {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  known_as_of_ts: Milliseconds;
  known_as_of_at: Instant;
  group_by: string | null;
  count: number;
  totals: Results[];
  groups: Group[];
  other: Results[];
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

/** The account to be synced: a number of IBKR's, the id of a linked one. */
export interface SyncOrder {
  account_id: string;
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

/** Who works it, and under which id: a run of the linked account, or a job of IBKR's, which fetches all of its accounts. */
export interface SyncStarted {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  account_id: string;
  platform: "ibkr" | "mt5";
  run_id: string | null;
  job_id: string | null;
  is_new: boolean | null;
}

/** What a ticker has of a day. */
export interface TickerGaps {
  ticker: string;
  minutes: number;
  first_ts: Milliseconds | null;
  first_at: Instant | null;
  last_ts: Milliseconds | null;
  last_at: Instant | null;
  missing: Stretch[];
}

/** What one side did. ``realized_pnl`` null: a part of it is not known. */
export interface Totals {
  decided: number;
  entries: number;
  adds: number;
  trims: number;
  exits: number;
  realized_pnl: Amount | null;
}

/** A position; ``instrument``: what it holds as its book names it, by which marks are asked for. ``lane`` and ``is_defend`` null: of
 * another moment. ``outcome`` null: open. */
export interface Trade {
  notes: string | null;
  tags: string[];
  notes_version: number | null;
  other_words?: OtherWords[];
  position_id: string;
  trade_id: string;
  book_id: string;
  ticker: string;
  contract_name: string;
  instrument: string;
  direction: "LONG" | "SHORT";
  status: "OPEN" | "CLOSED";
  outcome: "WIN" | "LOSS" | "FLAT" | "PENDING" | null;
  currency: string;
  total_qty: Amount;
  opened_qty: Amount;
  entry_price: Amount | null;
  cost_basis: Amount | null;
  current_price: Amount | null;
  price_ts: Milliseconds | null;
  price_at: Instant | null;
  price_state: "fresh" | "stale" | "missing";
  unrealized_pnl: Amount | null;
  realized_pnl: Amount | null;
  fees: Amount | null;
  return_percent: Percent | null;
  day_change_percent: Percent | null;
  day_direction: "up" | "down" | "flat" | "unknown";
  trimmed_percent: Percent | null;
  lane: string | null;
  is_defend: boolean | null;
  first_entry_ts: Milliseconds;
  first_entry_at: Instant;
  last_action_ts: Milliseconds;
  last_action_at: Instant;
  action_count: number;
  is_corrected: boolean;
  lots?: Lot[];
  execution_actions?: Execution[];
}

/** One position with everything that is kept of it. */
export interface TradeDetail {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  known_as_of_ts: Milliseconds;
  known_as_of_at: Instant;
  trade: Trade;
  lots: Lot[];
  actions: Execution[];
  events: FlatEvent[];
  closings: Closing[];
  messages: OwnMessage[];
  versions?: Version[];
  evidence?: Evidence[];
}

/** Words about a broker's trade as they are sent. */
export interface TradeNotes {
  notes?: string | null;
  tags?: string[] | null;
  strategy?: string | null;
  is_hidden?: boolean | null;
}

/** A position on both sides, joined by the action that opened it. */
export interface TradePair {
  ticker: string;
  direction: string;
  currency: string;
  status: "equal" | "left_only" | "right_only" | "different";
  left: ComparedTrade | null;
  right: ComparedTrade | null;
  first_difference: FirstDifference | null;
}

/** A page of positions, newest entry first. */
export interface Trades {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  next_cursor: string | null;
  known_as_of_ts: Milliseconds;
  known_as_of_at: Instant;
  trades: Trade[];
}

/** A version of an action: from when until when it was known, and what made it; VOID: it did not happen after all. */
export interface Version {
  action_id: string;
  version: number;
  state: "BOOKED" | "VOID";
  known_from_ts: Milliseconds;
  known_from_at: Instant;
  known_to_ts: Milliseconds | null;
  known_to_at: Instant | null;
  cause: string;
  action_type: "ENTRY" | "ADD_ENTRY" | "TRIM" | "EXIT";
  ts: Milliseconds;
  at: Instant;
  qty: Amount;
  price: Amount;
  value: Amount | null;
  fees: Amount | null;
  pnl_realized: Amount | null;
  qty_after: Amount;
  vwap_after: Amount | null;
  realized_pnl_after: Amount | null;
  reason: string | null;
}

/** What answers: the code, the shape of its answers, the schema that it needs. */
export interface Versions {
  build: string;
  api: number;
  migration: string;
}

/** What the last audit noticed without holding it against the book. */
export interface Warned {
  kind: string;
  ids: string;
  detail: string;
}

/** The trading days of a calendar week that are within the range: its sums. */
export interface Week {
  entries: number;
  adds: number;
  trims: number;
  exits: number;
  wins: number;
  losses: number;
  flats: number;
  pending: number;
  first_date: string;
  last_date: string;
  currency: string;
  realized_pnl: Amount | null;
  fees: Amount | null;
  open_at_close: number;
}

/** The chain of a version of an execution, from what was received to the published figures. */
export interface Why {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  action_id: string;
  book_id: string;
  position_id: string;
  ticker: string;
  version: number;
  versions: number;
  is_whole: boolean;
  missing: ("receipt" | "signal" | "lane" | "intent" | "fill" | "action" | "closing" | "event" | "message" | "kpi")[];
  chain: Link[];
}

/** A rule or a reason, and what it says. */
export interface Words {
  code: string;
  text: string;
}

/** The account in one currency, rounded as a published day is: money to two decimals, percent to four, half to even. ``equity`` = start
 * cash + all realized + unrealized; ``day_pnl`` is it against the close of the session before. ``day_realized_pnl`` is what the
 * closings of the day brought. ``missing_marks``: tickers of open positions without a price. */
export interface Worth {
  currency: string;
  start_cash: Amount;
  cash: Amount | null;
  positions_value: Amount | null;
  equity: Amount | null;
  realized_pnl: Amount | null;
  unrealized_pnl: Amount | null;
  day_pnl: Amount | null;
  day_realized_pnl: Amount | null;
  day_return_percent: Percent | null;
  gross_exposure: Amount | null;
  net_exposure: Amount | null;
  open_positions: number;
  missing_marks: string[];
}

/** A violation that the last audit found. */
export interface fillbook__tracker__auditing_model__Finding {
  invariant: number;
  name: string;
  ids: string;
  detail: string;
}

/** What a person has to look at, by where it lies. */
export interface fillbook__tracker__health_model__DeadLetters {
  messages: number;
  events: number;
  deliveries: number;
  receipts: number;
  broker_rows: number;
}

/** Messages on their way to Discord. */
export interface fillbook__tracker__health_model__Messages {
  pending: number;
  dead: number;
}

/** How the accounts of a source are followed; times are of their last successes. */
export interface fillbook__tracker__health_model__SyncSource {
  source: string;
  accounts: number;
  ok: number;
  late: number;
  failing: number;
  newest_success_ts: Milliseconds | null;
  newest_success_at: Instant | null;
  oldest_success_ts: Milliseconds | null;
  oldest_success_at: Instant | null;
}

/** Dead letters by reason, the oldest group first, and a page of them, newest first. */
export interface fillbook__tracker__messages_model__DeadLetters {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  next_cursor: string | null;
  groups: DeadGroup[];
  messages: fillbook__tracker__messages_model__Message[];
}

/** Something that a run found, field by field. */
export interface fillbook__tracker__messages_model__Finding {
  run_id: string;
  ordinal: number;
  kind: "missing" | "wrong" | "double" | "orphan" | "unverifiable";
  channel_id: "executions" | "ops" | "lanes";
  subject_key: string;
  book_id: string | null;
  action_id: string | null;
  message_id: string | null;
  differences: FieldDifference[];
  note: string | null;
  found_ts: Milliseconds;
  found_at: Instant;
  repaired_ts: Milliseconds | null;
  repaired_at: Instant | null;
}

/** One subject in one channel: what it should say by version, what it says, and how far the telling is. */
export interface fillbook__tracker__messages_model__Message {
  channel_id: "executions" | "ops" | "lanes";
  subject_key: string;
  subject_kind: "execution" | "ops" | "lane";
  book_id: string | null;
  action_id: string | null;
  position_id: string | null;
  title: string | null;
  state: "proven" | "posted" | "pending" | "sending" | "ambiguous" | "dead" | "missing" | "wrong" | "double" | "orphan" | "unverifiable" | "suppressed" | "muted" | "removed";
  dead_reason: string | null;
  deaths: number;
  wanted_version: number;
  posted_version: number | null;
  message_id: string | null;
  url: string | null;
  embed_index: number | null;
  attempts: number;
  maybe_created: boolean;
  blind_resends: number;
  notes: string[];
  verify_due: boolean;
  last_finding: string | null;
  occurred_ts: Milliseconds;
  occurred_at: Instant;
  created_ts: Milliseconds;
  created_at: Instant;
  posted_ts: Milliseconds | null;
  posted_at: Instant | null;
  proven_ts: Milliseconds | null;
  proven_at: Instant | null;
  next_attempt_ts: Milliseconds | null;
  next_attempt_at: Instant | null;
  pending_since_ts: Milliseconds | null;
  pending_since_at: Instant | null;
}

/** A page of messages, newest subject first. */
export interface fillbook__tracker__messages_model__Messages {
  ok: boolean;
  as_of_ts: Milliseconds;
  as_of_at: Instant;
  data_as_of_ts: Milliseconds | null;
  data_as_of_at: Instant | null;
  books: Record<string, BookState>;
  count: number;
  has_more: boolean;
  next_cursor: string | null;
  messages: fillbook__tracker__messages_model__Message[];
}

/** How a source of an IBKR account is followed, from its last run. */
export interface fillbook__tracker__syncing_model__SyncSource {
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

/** What became of an execution's message; ``url`` null: Discord never named its server. */
export interface fillbook__tracker__trades_model__Message {
  state: "proven" | "posted" | "pending" | "ambiguous" | "dead" | "missing" | "wrong" | "double" | "orphan" | "unverifiable" | "suppressed" | "muted" | "removed" | "none";
  message_id: string | null;
  url: string | null;
  posted_ts: Milliseconds | null;
  posted_at: Instant | null;
}

/** What each operation answers. */
export interface Answers {
  "GET /openapi.json": Record<string, unknown>;
  "GET /timed/trades": Trades;
  "GET /timed/ledger/trades": FlatTrades;
  "GET /timed/ledger/trades/{trade_id}": TradeDetail;
  "GET /timed/ledger/actions": Actions;
  "GET /timed/export/trades.csv": string;
  "GET /timed/export/trades.json": Trades;
  "GET /timed/export/lots.csv": string;
  "GET /timed/export/lots.json": Lots;
  "GET /timed/export/actions.csv": string;
  "GET /timed/export/actions.json": Actions;
  "GET /timed/export/activity.csv": string;
  "GET /timed/export/activity.json": Activity;
  "GET /timed/lanes": Lanes;
  "GET /timed/lanes/history": Moves;
  "POST /timed/ledger/trades/{trade_id}/notes": AnnotationAnswer;
  "PATCH /timed/ledger/trades/{trade_id}/notes": AnnotationAnswer;
  "POST /api/v1/trades/{trade_id}/notes": AnnotationAnswer;
  "PATCH /api/v1/trades/{trade_id}/notes": AnnotationAnswer;
  "GET /timed/notes": AnnotationPage;
  "GET /api/v1/notifications/messages": fillbook__tracker__messages_model__Messages;
  "GET /api/v1/notifications/deliveries": Deliveries;
  "GET /api/v1/notifications/channels": Channels;
  "GET /api/v1/notifications/dead-letters": fillbook__tracker__messages_model__DeadLetters;
  "GET /api/v1/notifications/reconciliation": Proofs;
  "GET /timed/replay/runs": Runs;
  "GET /timed/replay/runs/{run}": OneRun;
  "GET /timed/replay/runs/{run}/buckets": Buckets;
  "GET /timed/replay/compare": ComparisonAnswer;
  "POST /timed/admin/replay-runs": ReplayRuns;
  "POST /timed/admin/replay-compare": ComparisonAnswer;
  "POST /timed/admin/sync": SyncStarted;
  "POST /timed/admin/reconciliation": ProofStarted;
  "GET /api/v1/trades": BrokerTrades;
  "GET /api/v1/trades/{trade_id}": OneBrokerTrade;
  "GET /api/v1/trades/{trade_id}/executions": BrokerExecutions;
  "GET /api/v1/accounts": Accounts;
  "GET /api/v1/accounts/{account}": OneAccount;
  "GET /api/v1/accounts/{account}/sync-runs": SyncRuns;
  "GET /api/v1/sync/health": SyncHealth;
  "GET /api/v1/sync/coverage": SyncCoverage;
  "GET /timed/ledger/summary": Summary;
  "GET /timed/calendar": Calendar;
  "GET /timed/portfolio": Portfolio;
  "GET /timed/activity": Activity;
  "GET /timed/why/{action_id}": Why;
  "GET /timed/marks/{instrument}": Marks;
  "GET /timed/session": Session;
  "GET /timed/audit": Audits;
  "GET /timed/health": Health;
  "GET /timed/cost": Cost;
  "GET /timed/snapshot": Published;
  "GET /timed/snapshot/dates": PublishedDates;
  "GET /timed/snapshot/series": Series;
  "GET /timed/snapshot/extremes": Extremes;
  "GET /timed/snapshot/restatements": Restatements;
}

/** What is sent with an operation. */
export interface Bodies {
  "POST /timed/ledger/trades/{trade_id}/notes": PositionNotes;
  "PATCH /timed/ledger/trades/{trade_id}/notes": PositionNotes;
  "POST /api/v1/trades/{trade_id}/notes": TradeNotes;
  "PATCH /api/v1/trades/{trade_id}/notes": TradeNotes;
  "POST /timed/admin/replay-runs": ReplayOrder;
  "POST /timed/admin/replay-compare": CompareOrder;
  "POST /timed/admin/sync": SyncOrder;
  "POST /timed/admin/reconciliation": ProofOrder;
}
