-- name: clear_replay_book
-- Empty a replay book; the function itself refuses any other.
select ledger.clear_replay_book(:book_id);

-- name: adjustment_versions
-- All versions of one split, oldest first.
select to_json(j) as row from ledger.adjustments j
 where j.book_id = :book_id and j.adjustment_id = :adjustment_id
 order by j.version;

-- name: book_head
-- One book with the end of its chain.
select to_json(b) as row from ledger.books b where b.book_id = :book_id;

-- name: lock_book
-- One book under its row lock: nobody books in it until the transaction ends.
select to_json(b) as row from ledger.books b where b.book_id = :book_id for update;

-- name: book_ids
-- Every book, or those with rows recorded since an instant.
select b.book_id from ledger.books b
 where :since::timestamptz is null or b.last_recorded_at >= :since::timestamptz
 order by b.book_id;

-- name: fills_page
-- Journal rows of a book after a seq.
select to_json(f) as row from ledger.fills f
 where f.book_id = :book_id and f.seq > :after
 order by f.seq limit :rows_max;

-- name: adjustments
-- All versions of all splits of a book.
select to_json(j) as row from ledger.adjustments j where j.book_id = :book_id order by j.seq;

-- name: actions_page
-- History rows of a book after a seq, each with its closings in ordinal order.
select to_json(a) as row,
       (select json_agg(c order by c.ordinal) from ledger.closings c
         where c.book_id = a.book_id and c.action_id = a.action_id and c.version = a.version) as closings
  from ledger.execution_actions a
 where a.book_id = :book_id and a.seq > :after
 order by a.seq limit :rows_max;

-- name: positions_page
-- Positions of a book after an id.
select to_json(p) as row from ledger.positions p
 where p.book_id = :book_id and p.position_id > :after
 order by p.position_id limit :rows_max;

-- name: lots_page
-- Lots of a book after an id.
select to_json(l) as row from ledger.lots l
 where l.book_id = :book_id and l.lot_id > :after
 order by l.lot_id limit :rows_max;

-- name: parked
-- Facts that a book holds but cannot book.
select k.fill_id::text as fill_id, k.instrument, k.reason, k.parked_at
  from ledger.parked_fills k where k.book_id = :book_id order by k.fill_id;

-- name: audit_01
-- Σ open lots = position: quantity, value, basis and number of lots of every OPEN position.
select p.position_id::text as ids, 'open lots differ from the position' as detail
  from ledger.positions p
  left join ledger.lots l on l.book_id = p.book_id and l.position_id = p.position_id and l.quantity_open > 0
 where p.book_id = :book_id and p.status = 'OPEN'
 group by p.book_id, p.position_id
having coalesce(sum(l.quantity_open), 0) <> p.quantity_open
    or count(l.lot_id) <> p.open_lot_count
    or case when count(*) = count(l.value_open) then sum(l.value_open) end is distinct from p.value_open
    or case when count(*) = count(l.basis_open) then sum(l.basis_open) end is distinct from p.cost_basis
 order by 1 limit 100;

-- name: audit_02
-- CLOSED or VOID means that nothing is open.
select p.position_id::text as ids, p.status || ' with something open' as detail
  from ledger.positions p
 where p.book_id = :book_id and p.status <> 'OPEN'
   and (p.quantity_open <> 0
        or exists (select from ledger.lots l
                    where l.book_id = p.book_id and l.position_id = p.position_id and l.quantity_open > 0))
 order by 1 limit 100;

-- name: audit_03
-- Σ closings = quantity of every current TRIM and EXIT.
select a.action_id::text as ids, 'closings hold ' || coalesce(sum(c.quantity), 0) || ' of ' || a.quantity as detail
  from ledger.execution_actions a
  left join ledger.closings c on c.book_id = a.book_id and c.action_id = a.action_id and c.version = a.version
 where a.book_id = :book_id and a.superseded_at is null and a.state = 'BOOKED' and a.action_type in ('TRIM', 'EXIT')
 group by a.book_id, a.action_id, a.version, a.quantity
having coalesce(sum(c.quantity), 0) <> a.quantity
 order by 1 limit 100;

-- name: audit_04
-- Every lot is conserved: what was bought is open or closed, in the units it was bought in. A split rounds to 10 decimals.
select l.lot_id::text as ids, 'open and closed parts do not make the lot' as detail
  from ledger.lots l
  left join lateral (
      select sum(c.quantity / c.split_factor) as quantity
        from ledger.closings c
        join ledger.execution_actions a on a.book_id = c.book_id and a.action_id = c.action_id and a.version = c.version
       where c.book_id = l.book_id and c.lot_id = l.lot_id and a.superseded_at is null and a.state = 'BOOKED') as closed on true
 where l.book_id = :book_id and l.status <> 'VOID'
   and abs(l.quantity - (l.quantity_open / l.split_factor + coalesce(closed.quantity, 0)))
     > 0.000001 * l.quantity + case when l.split_factor = 1 then 0 else 0.0000000002 / least(l.split_factor, 1) end
 order by 1 limit 100;

-- name: audit_05
-- Realized P&L of an action = Σ closings, net, gross and base; unknown exactly when one part is.
select a.action_id::text as ids, 'realized P&L differs from the closings' as detail
  from ledger.execution_actions a
  join ledger.closings c on c.book_id = a.book_id and c.action_id = a.action_id and c.version = a.version
 where a.book_id = :book_id and a.superseded_at is null and a.state = 'BOOKED'
 group by a.book_id, a.action_id, a.version, a.realized_pnl, a.realized_pnl_gross, a.realized_pnl_base
having case when count(*) = count(c.realized_pnl) then sum(c.realized_pnl) end is distinct from a.realized_pnl
    or case when count(*) = count(c.realized_pnl_gross) then sum(c.realized_pnl_gross) end is distinct from a.realized_pnl_gross
    or case when count(*) = count(c.realized_pnl_base) then sum(c.realized_pnl_base) end is distinct from a.realized_pnl_base
 order by 1 limit 100;

-- name: audit_06
-- A position = Σ its actions, and the last action's after-state is the position (in today's units where a split came later).
select p.position_id::text as ids, 'the position differs from its actions' as detail
  from ledger.positions p
  left join lateral (
      select count(*) as actions,
             count(*) filter (where a.action_type in ('TRIM', 'EXIT')) as closing,
             count(a.realized_pnl) as net_known, count(a.realized_pnl_gross) as gross_known, count(a.realized_pnl_base) as base_known,
             coalesce(sum(a.realized_pnl), 0) as net, coalesce(sum(a.realized_pnl_gross), 0) as gross,
             coalesce(sum(a.realized_pnl_base), 0) as base, count(a.fees) as fees_known, coalesce(sum(a.fees), 0) as fees
        from ledger.execution_actions a
       where a.book_id = p.book_id and a.position_id = p.position_id and a.superseded_at is null and a.state = 'BOOKED') as t on true
  left join lateral (
      select a.* from ledger.execution_actions a
       where a.book_id = p.book_id and a.position_id = p.position_id and a.superseded_at is null and a.state = 'BOOKED'
       order by a.executed_at desc, a.venue_order desc, a.fill_id desc, a.leg desc limit 1) as z on true
  left join lateral (
      select exp(sum(ln(j.ratio_num::numeric(40,20) / j.ratio_den))) as scale
        from (select distinct on (adjustment_id) * from ledger.adjustments
               where book_id = p.book_id and instrument = p.instrument order by adjustment_id, version desc) as j
       where not j.is_void and p.status = 'OPEN' and j.effective_at > z.executed_at) as s on true
 where p.book_id = :book_id and p.status <> 'VOID'
   and (t.actions is distinct from p.action_count
        or case when t.net_known = t.closing then t.net end is distinct from p.realized_pnl
        or case when t.gross_known = t.closing then t.gross end is distinct from p.realized_pnl_gross
        or case when t.base_known = t.closing then t.base end is distinct from p.realized_pnl_base
        or case when t.fees_known = t.actions then t.fees end is distinct from p.fees_total
        or z.position_realized_pnl_after is distinct from p.realized_pnl
        or z.position_cost_basis_after is distinct from p.cost_basis
        or z.executed_at is distinct from p.last_action_at
        or (s.scale is null and (z.position_quantity_after is distinct from p.quantity_open
                                 or z.position_quantity_opened_after is distinct from p.quantity_opened))
        or (s.scale is not null and abs(z.position_quantity_after * s.scale - p.quantity_open)
                                  > 0.000001 * p.quantity_open + 0.0000000001 * p.open_lot_count))
 order by 1 limit 100;

-- name: audit_07
-- One OPEN position per instrument (hedging: and direction).
select string_agg(p.position_id::text, ',' order by p.position_id) as ids, count(*) || ' OPEN positions of ' || p.instrument as detail
  from ledger.positions p
 where p.book_id = :book_id and p.status = 'OPEN'
 group by p.instrument, case when p.is_net then null else p.direction end
having count(*) > 1
 order by 1 limit 100;

-- name: audit_08
-- Every current fill is booked whole or parked; a busted one is neither.
select f.fill_id::text as ids, case when f.is_bust then 'busted but still ' else 'neither ' end || 'booked or parked' as detail
  from (select distinct on (f.fill_id) f.* from ledger.fills f where f.book_id = :book_id
         order by f.fill_id, f.source_revision desc, f.is_bust desc, f.version desc) as f
  left join (select a.fill_id, sum(a.quantity) as quantity from ledger.execution_actions a
              where a.book_id = :book_id and a.superseded_at is null and a.state = 'BOOKED'
              group by a.fill_id) as booked on booked.fill_id = f.fill_id
  left join ledger.parked_fills k on k.book_id = f.book_id and k.fill_id = f.fill_id
 where coalesce(booked.quantity, 0) <> case when f.is_bust or k.fill_id is not null then 0 else f.quantity end
    or (f.is_bust and k.fill_id is not null)
 order by 1 limit 100;

-- name: audit_09
-- Order: nothing is closed before it was opened, a position begins with its only ENTRY and ends with its only EXIT.
select a.action_id::text as ids, 'closes a lot that was opened later' as detail
  from ledger.execution_actions a
  join ledger.closings c on c.book_id = a.book_id and c.action_id = a.action_id and c.version = a.version
  join ledger.lots l on l.book_id = c.book_id and l.lot_id = c.lot_id
 where a.book_id = :book_id and a.superseded_at is null and a.state = 'BOOKED'
   and (a.executed_at, a.venue_order, a.fill_id) < (l.opened_at, l.venue_order, l.fill_id)
union all
select a.action_id::text, a.action_type || ' at place ' || a.place || ' of ' || a.places
  from (select a.action_id, a.action_type,
               row_number() over (partition by a.position_id order by a.executed_at, a.venue_order, a.fill_id, a.leg) as place,
               count(*) over (partition by a.position_id) as places
          from ledger.execution_actions a
         where a.book_id = :book_id and a.superseded_at is null and a.state = 'BOOKED') as a
 where (a.place = 1) <> (a.action_type = 'ENTRY') or (a.action_type = 'EXIT' and a.place <> a.places)
 order by 1 limit 100;

-- name: audit_10
-- Arithmetic: value, cash effect, unrealized, basis, vwap and every closing recomputed from what they are made of.
select a.action_id::text as ids, 'value, cash effect or unrealized P&L is not what the figures make' as detail
  from ledger.execution_actions a
  join ledger.fills f on f.book_id = a.book_id and f.seq = a.fill_seq
 cross join lateral (select case when a.direction = 'LONG' then 1 else -1 end as s,
                            a.action_type in ('ENTRY', 'ADD_ENTRY') as opens) as k
 where a.book_id = :book_id and a.superseded_at is null and a.state = 'BOOKED'
   and (abs(a.value - a.quantity * a.price * a.multiplier) > 0.000000005
        or a.cash_effect is distinct from case
               when f.cash_style = 'full' and k.opens then -k.s * a.value - a.fees
               when f.cash_style = 'full' then k.s * a.value - a.fees
               when k.opens then case when a.value is not null then -a.fees end
               else a.realized_pnl_gross - a.fees end
        or abs(a.unrealized_pnl_after
               - k.s * (a.position_quantity_after * a.price * a.multiplier - a.position_cost_basis_after)) > 0.000000005)
union all
select l.lot_id::text, 'value or basis of the lot is not what the figures make'
  from ledger.lots l
  join ledger.positions p on p.book_id = l.book_id and p.position_id = l.position_id
 where l.book_id = :book_id and l.status <> 'VOID'
   and (abs(l.value - l.quantity * l.price * l.multiplier) > 0.000000005
        or l.basis is distinct from l.value + case when p.direction = 'LONG' then l.fees else -l.fees end)
union all
select p.position_id::text, 'vwap is not Σ quantity × price of the open lots'
  from ledger.positions p
  join ledger.lots l on l.book_id = p.book_id and l.position_id = p.position_id and l.quantity_open > 0
 where p.book_id = :book_id and p.status = 'OPEN'
 group by p.book_id, p.position_id
having abs(sum(l.quantity_open * l.price_adjusted) / sum(l.quantity_open) - p.vwap) > 0.0000000001
union all
select a.action_id::text, 'a closing is not what its parts make'
  from ledger.closings c
  join ledger.execution_actions a on a.book_id = c.book_id and a.action_id = c.action_id and a.version = c.version
 cross join lateral (select case when a.direction = 'LONG' then 1 else -1 end as s) as k
 where c.book_id = :book_id and a.superseded_at is null and a.state = 'BOOKED'
   and (c.realized_pnl_gross is distinct from k.s * (c.close_value - c.lot_value)
        or c.realized_pnl is distinct from k.s * (c.proceeds - c.lot_basis))
 order by 1 limit 100;

-- name: audit_11
-- Cash truth: once flat, with all fees known, what moved is what was realized.
select p.position_id::text as ids, 'moved ' || sum(a.cash_effect) || ', realized ' || p.realized_pnl as detail
  from ledger.positions p
  join ledger.execution_actions a
    on a.book_id = p.book_id and a.position_id = p.position_id and a.superseded_at is null and a.state = 'BOOKED'
 where p.book_id = :book_id and p.status = 'CLOSED'
 group by p.book_id, p.position_id
having count(*) = count(a.cash_effect) and sum(a.cash_effect) is distinct from p.realized_pnl
 order by 1 limit 100;

-- name: audit_12
-- One currency and one multiplier per position; unknown ones are no other ones.
select p.position_id::text as ids, 'more than one currency or multiplier' as detail
  from ledger.positions p
  join ledger.execution_actions a
    on a.book_id = p.book_id and a.position_id = p.position_id and a.superseded_at is null and a.state = 'BOOKED'
 where p.book_id = :book_id and p.status <> 'VOID'
 group by p.book_id, p.position_id
having count(distinct nullif(a.currency, 'XXX')) > 1 or count(distinct a.multiplier) > 1
    or bool_or(a.currency <> 'XXX' and a.currency <> p.currency) or bool_or(a.multiplier <> p.multiplier)
 order by 1 limit 100;

-- name: audit_15
-- Announced: every version of the last days has its event, is covered by a restatement, or gave way silently; no event of a replay.
select a.action_id::text as ids, 'v' || a.version || ' (seq ' || a.seq || ') was not announced' as detail
  from ledger.execution_actions a
 where a.book_id = :book_id and a.book_id not like 'replay:%' and a.recorded_at >= :since
   and not exists (select from outbox.v_events e
                    where e.book_id = a.book_id and e.aggregate_version = a.seq
                      and e.event_type in ('execution_booked', 'execution_corrected', 'execution_busted'))
   and not (a.version > 1 and exists (
           select from outbox.v_events e
            where e.book_id = a.book_id and e.event_type = 'book_restated' and e.aggregate_version = a.booking_seq
              and e.aggregate_key = a.book_id || '/' || a.instrument))
   and not (a.state = 'VOID' and exists (
           select from ledger.fills f
            where f.book_id = a.book_id and f.booking_seq = a.booking_seq and f.replaces_fill_id = a.fill_id))
union all
select e.event_id::text, 'an event of a replay book' from outbox.v_events e
 where e.book_id = :book_id and e.book_id like 'replay:%'
 order by 1 limit 100;

-- name: audit_warnings
-- What is no violation but wants a look: no mark, parked or unpriced for longer than it should be.
select 'unmarked' as kind, p.position_id::text as ids, 'OPEN without a mark since ' || :marks_since::text as detail
  from ledger.positions p
 where p.book_id = :book_id and p.status = 'OPEN' and p.opened_at < :marks_since::timestamptz
   and not exists (select from ledger.marks m
                    where m.book_id = p.book_id and m.instrument = p.instrument and m.marked_at >= :marks_since::timestamptz)
union all
select 'parked', k.fill_id::text, k.reason || ', parked since ' || k.parked_at
  from ledger.parked_fills k where k.book_id = :book_id and k.parked_at < :parked_since
union all
select 'fees_unknown', a.action_id::text, 'fees unknown since ' || a.recorded_at
  from ledger.execution_actions a
 where a.book_id = :book_id and a.superseded_at is null and a.state = 'BOOKED' and a.fees is null
   and a.executed_at < :fees_since
 order by 1, 2 limit 100;

-- name: audits_due
-- Books with rows that no audit has seen; the keeper may not write into replay books, whose runs prove themselves.
select b.book_id from ledger.books b
  left join lateral (select a.seq from ledger.audits a where a.book_id = b.book_id order by a.ran_at desc limit 1) as last on true
 where b.seq > coalesce(last.seq, 0) and b.book_id not like 'replay:%'
 order by b.book_id;

-- name: store_audit
-- Keep what an audit found.
insert into ledger.audits (book_id, ran_at, exit, findings, seq, code_version)
values (:book_id, :ran_at, :exit, :findings::jsonb, :seq, :code_version)
on conflict on constraint audits_pk do nothing;

-- name: store_anchor
-- Anchor the chain's end for a day; the first of a day stands.
insert into ledger.chain_anchors (book_id, anchored_on, seq, chain_head, recorded_at)
values (:book_id, :anchored_on, :seq, :chain_head, :recorded_at)
on conflict on constraint chain_anchors_pk do nothing;

-- name: anchors
-- The anchors of a book, oldest first.
select c.anchored_on, c.seq, c.chain_head from ledger.chain_anchors c where c.book_id = :book_id order by c.seq, c.anchored_on;

-- name: current_fill
-- The current version of one fill.
select to_json(f) as row from ledger.fills f
 where f.book_id = :book_id and f.fill_id = :fill_id
 order by f.source_revision desc, f.is_bust desc, f.version desc limit 1;

-- name: last_marks
-- The last mark of each instrument of a book, as it was recorded.
select distinct on (m.instrument) m.instrument, m.price, m.marked_at, m.source
  from ledger.marks m where m.book_id = :book_id
 order by m.instrument, m.bucket_at desc;

-- name: next_versions
-- When the next version of an action was recorded, as JSON writes it.
select a.action_id || ' v' || (a.version - 1) as name, to_json(a.recorded_at) #>> '{}' as recorded_at
  from ledger.execution_actions a where a.book_id = :book_id and a.version > 1;

-- name: walk_instruments
-- Every instrument that a book has fills of.
select distinct f.instrument collate "C" as instrument from ledger.fills f where f.book_id = :book_id order by 1;

-- name: walk_fills_page
-- Fills of an instrument after a key, in booking order: of each the version current as of a knowledge, busts left out.
select to_json(f) as row,
       (select min(v.seq) from ledger.fills v where v.book_id = f.book_id and v.fill_id = f.fill_id) as first_seq
  from ledger.fills f
 where f.book_id = :book_id and f.instrument = :instrument and not f.is_bust
   and (f.executed_at, f.venue_order, f.fill_id) > (:after_at::timestamptz, :after_order::text, :after_id::uuid)
   and f.executed_at <= :as_of::timestamptz and f.recorded_at <= :known_as_of::timestamptz
   and not exists (select from ledger.fills n
                    where n.book_id = f.book_id and n.fill_id = f.fill_id and n.recorded_at <= :known_as_of::timestamptz
                      and (n.source_revision, n.is_bust, n.version) > (f.source_revision, f.is_bust, f.version))
 order by f.executed_at, f.venue_order, f.fill_id limit :rows_max;

-- name: export_fills_page
-- Facts of a book after a seq: of each the version current as of a knowledge, busts included.
select to_json(f) as row from ledger.fills f
 where f.book_id = :book_id and f.seq > :after
   and f.executed_at <= :as_of::timestamptz and f.recorded_at <= :known_as_of::timestamptz
   and not exists (select from ledger.fills n
                    where n.book_id = f.book_id and n.fill_id = f.fill_id and n.recorded_at <= :known_as_of::timestamptz
                      and (n.source_revision, n.is_bust, n.version) > (f.source_revision, f.is_bust, f.version))
 order by f.seq limit :rows_max;

-- name: export_actions_page
-- Booked actions of a book after a seq that were current as of a knowledge, each with its closings in ordinal order.
select to_json(a) as row,
       (select json_agg(c order by c.ordinal) from ledger.closings c
         where c.book_id = a.book_id and c.action_id = a.action_id and c.version = a.version) as closings
  from ledger.execution_actions a
 where a.book_id = :book_id and a.seq > :after and a.state = 'BOOKED'
   and a.executed_at <= :as_of::timestamptz and a.recorded_at <= :known_as_of::timestamptz
   and (a.superseded_at is null or a.superseded_at > :known_as_of::timestamptz)
 order by a.seq limit :rows_max;

-- name: current_actions_page
-- Current booked actions of a book after an id, each with its closings in ordinal order.
select to_json(a) as row,
       (select json_agg(c order by c.ordinal) from ledger.closings c
         where c.book_id = a.book_id and c.action_id = a.action_id and c.version = a.version) as closings
  from ledger.execution_actions a
 where a.book_id = :book_id and a.action_id > :after and a.superseded_at is null and a.state = 'BOOKED'
 order by a.action_id limit :rows_max;

-- name: export_anchors
-- The anchors of a book recorded until an instant, as they are stored.
select to_json(c) as row from ledger.chain_anchors c
 where c.book_id = :book_id and c.recorded_at <= :known_as_of::timestamptz
 order by c.anchored_on;

-- name: export_reconciliations
-- The reconciliations of a book recorded until an instant, as they are stored.
select to_json(r) as row from ledger.reconciliations r
 where r.book_id = :book_id and r.recorded_at <= :known_as_of::timestamptz
 order by r.recorded_at, r.source, r.as_of;

-- name: export_breaks
-- The breaks of a book first seen until an instant, as they are stored.
select to_json(x) as row from ledger.breaks x
 where x.book_id = :book_id and x.first_seen_at <= :known_as_of::timestamptz
 order by x.first_seen_at, x.break_id;
