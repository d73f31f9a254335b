// Answers about messages, as the API gives them.

export interface Channel {
  channel_id: string;
  kind: string | null;
  status: string;
  status_reason: string | null;
  pending: number;
  ambiguous: number;
  dead: number;
  oldest_pending_ts: number | null;
  last_posted_ts: number | null;
  paused_until_ts: number | null;
  paused_reason: string | null;
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
  wanted_version: number;
  posted_version: number | null;
  message_id: string | null;
  message_url: string | null;
  posted_ts: number | null;
  proven_ts: number | null;
  last_finding: string | null;
  dead_reason: string | null;
  attempts: number;
  next_attempt_ts: number | null;
  occurred_ts: number | null;
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
  retry_after_seconds: string | number | null;
  error: string | null;
}

export interface DeadGroup {
  reason: string;
  count: number;
  oldest_ts: number | null;
  remedy: string;
}

export interface DeadLetters {
  groups: DeadGroup[];
  items: Message[];
}

export interface Check {
  run_id: string;
  channel_id: string | null;
  status: string;
  reason: string | null;
  is_repairing: boolean;
  requested_by: string | null;
  since_ts: number | null;
  until_ts: number | null;
  queued_ts: number | null;
  started_ts: number | null;
  finished_ts: number | null;
  counts: Record<string, number>;
}

export interface Finding {
  ordinal: number;
  kind: string;
  channel_id: string;
  subject_key: string | null;
  book_id: string | null;
  action_id: string | null;
  message_id: string | null;
  note: string | null;
  differences: { field: string; expected: string | null; found: string | null }[];
  found_ts: number | null;
  repaired_ts: number | null;
}
