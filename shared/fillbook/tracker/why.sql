-- Statements about one execution: what led to it and what came of it. Views of other rooms, each asked by the key of its link.

-- name: versions
-- The versions of an action, newest first, in the books that exist for the reader.
select h.book_id, h.action_id::text as action_id, h.version, h.state::text as state, h.known_from, h.cause, h.fill_id::text as fill_id,
       h.fill_seq, h.position_id::text as position_id, h.ticker, h.direction::text as direction, h.action_type::text as action_type,
       h.executed_at, h.venue_order, h.quantity, h.price, h.value, h.fees, h.realized_pnl, h.currency, h.reason, h.meta
  from ledger.v_action_history h
 where h.book_id = any(:books::text[]) and h.action_id = :action_id
 order by h.version desc
 limit 200;

-- name: decision
-- The decision on a receipt.
select d.ticker, d.ts, d.lane::text as lane, d.computed_lane::text as computed_lane, d.rule, d.reason, d.badges, d.side, d.score,
       d.blocks, d.intents, d.trace, d.profile, d.recorded_at
  from signal.v_decisions d
 where d.book_id = :book_id and d.receipt_id = :receipt_id
 limit 1;

-- name: receipt
-- A receipt without its body.
select r.ticker, r.ts, r.received_at, r.recorded_at, r.payload_hash, r.script_version, r.repairs, r.result::text as result
  from signal.v_receipts r
 where r.receipt_id = :receipt_id and (:ts::timestamptz is null or r.ts = :ts::timestamptz)
 limit 1;

-- name: fill
-- The version of a fill that an action was booked from.
select f.source, f.source_id, f.source_revision, f.is_bust, f.quantity, f.price, f.fees, f.currency, f.executed_at, f.recorded_at
  from ledger.v_fill_history f
 where f.book_id = :book_id and f.fill_id = :fill_id and f.seq = :seq
 limit 1;

-- name: closings
-- What an action closed, lot by lot.
select c.lot_id::text as lot_id, c.quantity, c.lot_price, c.realized_pnl, c.recorded_at
  from ledger.v_closing_history c
 where c.book_id = :book_id and c.action_id = :action_id and c.version = :version
 order by c.ordinal;

-- name: events
-- Events by their ids.
select e.event_id::text as event_id, e.event_type, e.recorded_at, e.published_at, e.parked_at
  from outbox.v_events e
 where e.event_id = any(:ids::uuid[])
 order by e.recorded_at, e.event_type;

-- name: messages
-- The messages of an action.
select m.channel_id, m.subject_key, m.state, m.message_id, m.message_url, m.wanted_version, m.posted_version, m.posted_at,
       m.proven_at, m.last_finding, m.created_at
  from notify.v_messages m
 where m.subject_kind = 'execution' and m.book_id = :book_id and m.action_id = :action_id
 order by m.channel_id;

-- name: day
-- The published day that counts an execution, with the figures that it is a part of.
select d.date, d.stage, d.version, d.received_at, k.kpi, k.value_text, k.value_num, k.unit, k.sort_order
  from metrics.v_daily d
  left join metrics.v_kpis k on k.date = d.date and k.kpi = any(:kpis::text[])
 where d.date = :date and coalesce(d.provenance->'books', '["live"]'::jsonb) ? :book_id
   and coalesce(d.provenance->'books', '["live"]'::jsonb) <@ to_jsonb(:books::text[])
 order by k.sort_order;
