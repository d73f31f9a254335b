// The answers that a position's journey is made of.
import type { Frame, Trade } from "../../api/hand.ts";
import type { Decimal } from "../../lib/decimal.ts";
import type { Words } from "./words.ts";

export type ActionType = "ENTRY" | "ADD_ENTRY" | "TRIM" | "EXIT";

export interface Lot {
  lot_id: string;
  ts: number;
  qty: Decimal;
  price: Decimal;
  value: Decimal | null;
  remaining_qty: Decimal;
  cost_basis: Decimal | null;
  unrealized_pnl: Decimal | null;
  status: "OPEN" | "CLOSED";
}

export interface ClosedLot {
  lot_id: string;
  qty: Decimal;
  lot_price: Decimal;
  pnl_realized: Decimal | null;
}

export interface Message {
  state: string;
  message_id: string | null;
  url: string | null;
  posted_ts: number | null;
}

export interface OwnMessage extends Message {
  action_id: string;
  channel_id: string;
  wanted_version: number;
  posted_version: number | null;
  proven_ts: number | null;
}

export interface Execution {
  action_id: string;
  version: number;
  ts: number;
  action_type: ActionType;
  qty: Decimal;
  price: Decimal;
  value: Decimal | null;
  fees: Decimal | null;
  pnl_realized: Decimal | null;
  lots: ClosedLot[];
  qty_after: Decimal;
  vwap_after: Decimal | null;
  reason: string | null;
  reason_text: string | null;
  message: Message | null;
}

export interface Version {
  action_id: string;
  version: number;
  state: "BOOKED" | "VOID";
  known_from_ts: number;
  known_to_ts: number | null;
  cause: string;
  action_type: ActionType;
  ts: number;
  qty: Decimal;
  price: Decimal;
  value: Decimal | null;
  fees: Decimal | null;
  pnl_realized: Decimal | null;
  qty_after: Decimal;
  vwap_after: Decimal | null;
  realized_pnl_after: Decimal | null;
  reason: string | null;
}

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
  qty: Decimal;
  price: Decimal;
  fees: Decimal | null;
  fees_currency: string | null;
  executed_ts: number;
  received_ts: number;
  recorded_ts: number;
  origin: string;
  cause: string;
  content_hash: string;
}

export interface JourneyTrade extends Trade, Words {
  other_words?: (Words & { subject_id: string })[];
}

export interface JourneyAnswer extends Frame {
  trade: JourneyTrade;
  lots: Lot[];
  actions: Execution[];
  messages: OwnMessage[];
  versions?: Version[];
  evidence?: Evidence[];
}

export interface MarkPoint {
  ts: number;
  price: Decimal;
}

export interface MarksAnswer extends Frame {
  has_more?: boolean;
  points: MarkPoint[];
}
