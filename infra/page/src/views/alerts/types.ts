// Answers about messages, as the API gives them.
import type { Frame, Page } from "../../api/hand.ts";
import type { Decimal } from "../../lib/decimal.ts";

export interface Channel {
  channel_id: string;
  status: "active" | "paused" | "disabled";
  status_reason: string | null;
  digest: boolean;
  pending: number;
  ambiguous: number;
  dead: number;
  oldest_pending_ts: number | null;
  last_posted_ts: number | null;
  paused_until_ts: number | null;
  paused_reason: string | null;
}

export interface Channels extends Frame {
  channels: Channel[];
}

export interface Message {
  channel_id: string;
  subject_key: string;
  subject_kind: string;
  book_id: string | null;
  action_id: string | null;
  position_id: string | null;
  title: string | null;
  state: string;
  dead_reason: string | null;
  wanted_version: number;
  posted_version: number | null;
  url: string | null;
  attempts: number;
  occurred_ts: number;
  created_ts: number;
  posted_ts: number | null;
  proven_ts: number | null;
  next_attempt_ts: number | null;
}

export interface Messages extends Page {
  messages: Message[];
}

export interface Delivery {
  attempt_id: string;
  channel_id: string;
  subject_key: string;
  operation: string;
  started_ts: number;
  finished_ts: number | null;
  http_status: number | null;
  discord_code: number | null;
  wait_seconds: Decimal | null;
  error: string | null;
}

export interface Deliveries extends Page {
  deliveries: Delivery[];
}

export interface DeadGroup {
  channel_id: string;
  reason: string;
  count: number;
  oldest_ts: number;
  remedy: { text: string; command: string };
}

export interface DeadLetters extends Page {
  groups: DeadGroup[];
  messages: Message[];
}

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

export interface Proof {
  run_id: string;
  channel_id: string;
  status: "queued" | "running" | "proven" | "repaired" | "open" | "aborted";
  reason: string | null;
  is_repairing: boolean;
  requested_by: string;
  since_ts: number;
  until_ts: number;
  queued_ts: number;
  started_ts: number | null;
  finished_ts: number | null;
  counts: Counts;
}

export interface Finding {
  run_id: string;
  ordinal: number;
  kind: string;
  channel_id: string;
  subject_key: string;
  book_id: string | null;
  message_id: string | null;
  differences: { field: string; expected: string | null; found: string | null }[];
  note: string | null;
  repaired_ts: number | null;
}

export interface Proofs extends Page {
  runs: Proof[];
  findings: Finding[];
  has_more_findings: boolean;
}
