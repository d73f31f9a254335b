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

/** The exchange now. ``trading_day`` is the day to which what happens now belongs, ``today`` null where today has no session. */
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
  message: Message | null;
}

export interface Failure {
  class: string | null;
  text: string | null;
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

/** ISO 8601, UTC, with milliseconds */
export type Instant = string;

/** The key that asked. */
export interface KeySeen {
  id: string;
  tenant_id: string;
  scopes: string[];
  books: string[];
  expires_ts: Milliseconds | null;
  expires_at: Instant | null;
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

/** What became of an execution's message; ``url`` null: Discord never named its server. */
export interface Message {
  state: "proven" | "posted" | "pending" | "ambiguous" | "dead" | "missing" | "wrong" | "double" | "orphan" | "unverifiable" | "suppressed" | "muted" | "removed" | "none";
  message_id: string | null;
  url: string | null;
  posted_ts: Milliseconds | null;
  posted_at: Instant | null;
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

/** A position; ``lane`` and ``is_defend`` null: of another moment. ``outcome`` null: open. */
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

/** What each operation answers. */
export interface Answers {
  "GET /openapi.json": Record<string, unknown>;
  "GET /timed/lanes": Record<string, unknown>;
  "GET /timed/health": Record<string, unknown>;
  "GET /timed/audit": Record<string, unknown>;
  "GET /api/v1/snapshot": Record<string, unknown>;
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
  "GET /timed/session": Session;
}

/** What is sent with an operation. */
export interface Bodies {
  "POST /timed/ledger/trades/{trade_id}/notes": PositionNotes;
  "PATCH /timed/ledger/trades/{trade_id}/notes": PositionNotes;
  "POST /api/v1/trades/{trade_id}/notes": TradeNotes;
  "PATCH /api/v1/trades/{trade_id}/notes": TradeNotes;
}
