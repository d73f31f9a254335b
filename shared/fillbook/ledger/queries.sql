-- name: clear_replay_book
-- Empty a replay book; the function itself refuses any other.
select ledger.clear_replay_book(:book_id);

-- name: drop_replay_book
-- Remove a replay book and everything in it; the function itself refuses any other.
select ledger.drop_replay_book(:book_id);

-- name: instruments_unvalued
-- Which of some instruments have fills in the journal of which nobody could tell the currency.
select distinct f.instrument
  from ledger.fills f
 where f.book_id = :book_id and f.currency = 'XXX' and f.instrument = any (:instruments::text[]);

-- name: fills_held
-- Of facts by their ids: [fill_id, content_hash, is_bust, a word of meta] of the version that counts; nothing of one that is not there.
select json_agg(json_build_array(k.id, encode(f.content_hash, 'hex'), f.is_bust, f.meta ->> :word::text)) as rows
  from unnest(:fill_ids::uuid[]) as k(id)
 cross join lateral (
       select v.content_hash, v.is_bust, v.meta
         from (select * from ledger.fills x where x.book_id = :book_id and x.fill_id = k.id order by x.version offset 0) v
        order by v.source_revision desc, v.is_bust desc, v.version desc limit 1) f;

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
select to_json(f)::text as row from ledger.fills f
 where f.book_id = :book_id and f.seq > :after
 order by f.seq limit :rows_max;

-- name: adjustments
-- All versions of all splits of a book.
select to_json(j) as row from ledger.adjustments j where j.book_id = :book_id order by j.seq;

-- name: actions_page
-- History rows of a book after a seq, each with its closings in ordinal order.
select to_json(a)::text as row,
       (select json_agg(c order by c.ordinal)::text from ledger.closings c
         where c.book_id = a.book_id and c.action_id = a.action_id and c.version = a.version) as closings
  from ledger.execution_actions a
 where a.book_id = :book_id and a.seq > :after
 order by a.seq limit :rows_max;

-- name: positions_page
-- Positions of a book after an id.
select to_json(p)::text as row from ledger.positions p
 where p.book_id = :book_id and p.position_id > :after
 order by p.position_id limit :rows_max;

-- name: lots_page
-- Lots of a book after an id.
select to_json(l)::text as row from ledger.lots l
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

-- name: positions_at
-- What a book held at an instant: each position's last action up to it; splits since then count by the position itself, or must be folded.
with touched as (
    select p.position_id from ledger.positions p
     where p.book_id = :book_id and p.status = 'OPEN' and p.opened_at <= :as_of
    union
    select a.position_id from ledger.execution_actions a
     where a.book_id = :book_id and a.superseded_at is null and a.state = 'BOOKED' and a.executed_at > :as_of
)
select p.instrument, p.ticker, p.direction::text as direction, p.currency, p.multiplier,
       case when s.within = 0 then z.position_quantity_after else p.quantity_open end as quantity,
       case when s.within = 0 then z.position_vwap_after else p.vwap end as vwap,
       case when s.within = 0 then z.position_cost_basis_after else p.cost_basis end as cost_basis,
       s.within > 0 and (s.later > 0 or p.last_action_at > z.executed_at) as must_fold
  from touched t
  join ledger.positions p on p.book_id = :book_id and p.position_id = t.position_id
 cross join lateral (
       select a.executed_at, a.position_quantity_after, a.position_vwap_after, a.position_cost_basis_after
         from ledger.execution_actions a
        where a.book_id = p.book_id and a.position_id = p.position_id and a.superseded_at is null and a.state = 'BOOKED'
          and a.executed_at <= :as_of
        order by a.executed_at desc, a.venue_order desc, a.fill_id desc, a.leg desc limit 1) as z
 cross join lateral (
       select count(*) filter (where j.effective_at <= :as_of) as within, count(*) filter (where j.effective_at > :as_of) as later
         from (select distinct on (i.adjustment_id) i.* from ledger.adjustments i
                where i.book_id = p.book_id and i.instrument = p.instrument order by i.adjustment_id, i.version desc) as j
        where not j.is_void and j.effective_at > z.executed_at) as s
 where z.position_quantity_after > 0
 order by p.instrument, p.direction;

-- name: fills_until
-- Current fills of one instrument up to an instant, in booking order: what its state then is folded from.
select to_json(c) as row
  from (select distinct on (f.fill_id) f.* from ledger.fills f
         where f.book_id = :book_id
           and f.fill_id in (select g.fill_id from ledger.fills g
                              where g.book_id = :book_id and g.instrument = :instrument and g.executed_at <= :as_of)
         order by f.fill_id, f.source_revision desc, f.is_bust desc, f.version desc) as c
 where c.instrument = :instrument and c.executed_at <= :as_of and not c.is_bust
 order by c.executed_at, c.venue_order, c.fill_id limit :rows_max;

-- name: splits_until
-- Current splits of one instrument up to an instant.
select to_json(c) as row
  from (select distinct on (j.adjustment_id) j.* from ledger.adjustments j
         where j.book_id = :book_id and j.instrument = :instrument
         order by j.adjustment_id, j.version desc) as c
 where not c.is_void and c.effective_at <= :as_of
 order by c.effective_at;

-- name: cash_moved
-- What executions of a period moved per currency, without fees and fees apart, each in the currency it was paid in.
with legs as (
    select a.currency, a.leg, f.fees, coalesce(f.fees_currency, a.currency) as fees_currency,
           case when f.cash_style = 'full' then case when (a.side = 'BUY') then -a.value else a.value end
                when a.action_type in ('ENTRY', 'ADD_ENTRY') then case when a.value is not null then 0 end
                else a.realized_pnl_gross end as gross
      from ledger.execution_actions a
      join ledger.fills f on f.book_id = a.book_id and f.seq = a.fill_seq
     where a.book_id = :book_id and a.superseded_at is null and a.state = 'BOOKED'
       and a.executed_at <= :as_of and (:since::timestamptz is null or a.executed_at > :since::timestamptz)
), parts as (
    select currency, gross, 0::numeric as fees, 0 as unknown, 1 as executions from legs
    union all
    select fees_currency, 0, coalesce(fees, 0), (fees is null)::integer, 0 from legs where leg = 1
)
select currency, case when bool_and(gross is not null) then sum(gross) end as gross, sum(fees) as fees, sum(unknown) as unknown,
       sum(executions) as executions
  from parts group by currency;

-- name: realized_in
-- Realized P&L of a period per instrument, direction and currency: gross, what fees took, and how many are not known yet.
select a.instrument, a.direction::text as direction, a.currency,
       case when bool_and(a.realized_pnl_gross is not null) then sum(a.realized_pnl_gross) end as gross,
       coalesce(sum(a.realized_pnl_gross - a.realized_pnl), 0) as fees,
       count(*) filter (where a.realized_pnl is null) as unknown, count(*) as executions
  from ledger.execution_actions a
 where a.book_id = :book_id and a.superseded_at is null and a.state = 'BOOKED' and a.action_type in ('TRIM', 'EXIT')
   and a.executed_at <= :as_of and (:since::timestamptz is null or a.executed_at > :since::timestamptz)
 group by a.instrument, a.direction, a.currency;

-- name: first_booked_at
-- Where a book's history begins.
select a.executed_at from ledger.execution_actions a
 where a.book_id = :book_id and a.superseded_at is null and a.state = 'BOOKED'
 order by a.executed_at limit 1;

-- name: overtaken_subjects
-- Subjects on which a newer statement of a book has spoken.
select distinct s.subject from ledger.reconciliations r cross join lateral unnest(r.subjects) as s(subject)
 where r.book_id = :book_id and r.result <> 'inconclusive' and r.as_of >= :as_of
   and (r.as_of > :as_of or r.source collate "C" > :source);

-- name: reconciliation
-- The last comparison of one statement.
select to_json(r) as row from ledger.reconciliations r
 where r.book_id = :book_id and r.source = :source and r.as_of = :as_of
 order by r.version desc limit 1;

-- name: breaks_of_book
-- The open breaks of a book, and of the others those that are named.
select to_json(x) as row from ledger.breaks x
 where x.book_id = :book_id and (x.resolved_at is null or x.break_id = any (:break_ids::uuid[]))
 order by x.first_seen_at, x.break_id;

-- name: one_break
-- One break by its id.
select to_json(x) as row from ledger.breaks x where x.book_id = :book_id and x.break_id::text = :break_id;

-- name: breaks
-- Breaks of one book or of all, open ones or all, oldest first among the open.
select to_json(x) as row, b.calendar from ledger.breaks x join ledger.books b using (book_id)
 where (:book_id::text is null or x.book_id = :book_id) and (:with_resolved or x.resolved_at is null)
 order by x.resolved_at desc nulls first, x.first_seen_at, x.break_id limit :rows_max;

-- name: books_with_breaks
-- Books with something to age or to compare again: an open break, or a statement since an instant.
select x.book_id from ledger.breaks x where x.resolved_at is null
union
select r.book_id from ledger.reconciliations r where r.as_of >= :since
 order by 1;

-- name: statements_since
-- The statements of a book that proved something since an instant, with the book's seq when they were last compared.
select distinct on (r.source, r.as_of) r.statement::text as statement, r.book_seq
  from ledger.reconciliations r
 where r.book_id = :book_id and r.as_of >= :since and r.result <> 'inconclusive'
 order by r.source, r.as_of, r.version desc;

-- name: parked_candidates
-- Parked facts of a book as explanations: with every instrument that one of their versions names.
select array(select distinct v.instrument from ledger.fills v where v.book_id = k.book_id and v.fill_id = k.fill_id) as instruments,
       c.direction::text as direction, c.side::text as side, c.quantity, c.price, c.multiplier, c.currency, c.fees, c.fees_currency,
       c.cash_style, c.executed_at, c.source_revision
  from ledger.parked_fills k
 cross join lateral (
       select * from ledger.fills f where f.book_id = k.book_id and f.fill_id = k.fill_id
        order by f.source_revision desc, f.is_bust desc, f.version desc limit 1) as c
 where k.book_id = :book_id
 order by k.fill_id limit :rows_max;

-- name: near_candidates
-- Executions around an instant as explanations.
select a.instrument, a.direction::text as direction, a.side::text as side, a.quantity, a.currency, a.cash_effect, a.realized_pnl,
       a.executed_at
  from ledger.execution_actions a
 where a.book_id = :book_id and a.superseded_at is null and a.state = 'BOOKED'
   and a.executed_at >= :first_at and a.executed_at <= :last_at
 order by a.executed_at, a.venue_order, a.fill_id, a.leg limit :rows_max;

-- name: twin_fills
-- For each quantity that is missing at the broker, one booked fill of just that quantity.
select a.instrument, a.direction::text as direction, a.side::text as side, f.quantity, a.currency, a.executed_at
  from jsonb_to_recordset(:wanted::jsonb) as r(instrument text, direction text, side text, quantity numeric)
 cross join lateral (
       select * from ledger.execution_actions a
        where a.book_id = :book_id and a.instrument = r.instrument and a.superseded_at is null and a.state = 'BOOKED'
          and a.executed_at <= :as_of and a.leg = 1 and a.side::text = r.side
          and (r.direction is null or a.direction::text = r.direction)
          and exists (select from ledger.fills g where g.book_id = a.book_id and g.seq = a.fill_seq and g.quantity = r.quantity)
        order by a.executed_at desc limit 1) as a
  join ledger.fills f on f.book_id = a.book_id and f.seq = a.fill_seq;

-- name: twin_amounts
-- For each amount that is missing at the broker, one booked execution of the period that moved or realized just that.
select r.kind, a.instrument, a.direction::text as direction, a.side::text as side, a.quantity, a.currency, a.cash_effect,
       a.realized_pnl, a.executed_at
  from jsonb_to_recordset(:wanted::jsonb) as r(kind text, instrument text, direction text, currency text, amount numeric)
 cross join lateral (
       select * from ledger.execution_actions a
        where a.book_id = :book_id and a.superseded_at is null and a.state = 'BOOKED' and a.currency = r.currency
          and (r.instrument = '' or a.instrument = r.instrument) and (r.direction is null or a.direction::text = r.direction)
          and a.executed_at <= :as_of and (:since::timestamptz is null or a.executed_at > :since::timestamptz)
          and abs(case r.kind when 'cash' then a.cash_effect else a.realized_pnl end - r.amount) <= :tolerance
        order by a.executed_at desc limit 1) as a;

-- As of T, known as of K. These read the room's views alone, so that readers of other rooms may run them too. An "offset 0"
-- keeps a position's condition inside the halves of actions_as_of, where it reaches their indexes; as a join it would not.

-- name: books_as_of
-- Books with the newest row of their chain that was recorded by K: its seq, and when.
select b.book_id, b.tenant_id, b.kind, b.lot_method::text as lot_method, b.netting, b.base_currency, b.start_cash, b.calendar,
       coalesce(known.seq, 0) as seq,
       coalesce(known.recorded_at, case when b.created_at <= :known_as_of::timestamptz then b.created_at end) as recorded_at
  from ledger.v_books b
  left join lateral (
      select max(newest.recorded_at) as recorded_at, max(newest.seq) as seq
        from ((select f.recorded_at, f.seq from ledger.v_fill_history f
                where f.book_id = b.book_id and f.recorded_at <= :known_as_of::timestamptz
                order by f.recorded_at desc, f.seq desc limit 1)
              union all
              (select a.known_from, a.seq from ledger.v_action_history a
                where a.book_id = b.book_id and a.known_from <= :known_as_of::timestamptz
                order by a.known_from desc, a.seq desc limit 1)
              union all
              (select j.recorded_at, j.seq from ledger.v_split_history j
                where j.book_id = b.book_id and j.recorded_at <= :known_as_of::timestamptz
                order by j.recorded_at desc, j.seq desc limit 1)) as newest) as known on true
 where b.book_id = any(:books::text[])
 order by b.book_id;

-- name: positions_as_of
-- Positions, newest entry first, after a place: the last action of each by T, and the sums over its actions by then.
-- A range takes the entries within it, active by themselves; where these fill no page, the older ones: by what happened within,
-- or by their own entries where a ticker is asked for, which only the ENTRY says for sure.
-- Open at T as known at K is at most what is held to be so now and what was learned or replaced after K: few, each looked at.
with found as (
    select held.*
      from unnest(:books::text[]) as wanted(book_id)
     cross join lateral (
         with within as (
             select e.book_id, e.position_id, e.executed_at
               from ledger.entries_as_of(wanted.book_id, :as_of, :known_as_of) as e
              where :status::text <> 'open'
                and (:since::timestamptz is null or e.executed_at >= :since::timestamptz)
                and (:until::timestamptz is null or e.executed_at < :until::timestamptz)
                and (:ticker::text is null or e.ticker = :ticker::text)
                and (:instrument::text is null or e.instrument_id = :instrument::text)
                and (:direction::ledger.direction is null or e.direction = :direction::ledger.direction)
                and (:status::text = 'all' or exists (
                     select from ledger.actions_as_of(wanted.book_id, :as_of, :known_as_of) as x
                      where x.position_id = e.position_id and x.action_type = 'EXIT' offset 0))
                and (:is_plain::boolean
                     or ledger.stood_as_of(wanted.book_id, e.position_id, :as_of, :known_as_of, :outcome, :min_pnl, :max_pnl, :reason))
                and (:within_positions::uuid[] is null or e.position_id = any(:within_positions::uuid[]))
                and (:within_positions::uuid[] is null
                     or (wanted.book_id, e.position_id) in (select * from unnest(:within_books::text[], :within_positions::uuid[])))
                and (:after_at::timestamptz is null
                     or ((e.executed_at, e.position_id) <= (:after_at::timestamptz, :after_id::uuid)
                         and (e.executed_at, e.position_id, e.book_id) < (:after_at::timestamptz, :after_id::uuid, :after_book::text)))
              order by e.executed_at desc, e.position_id desc
              limit :rows_max
         ), candidates as (
             select p.position_id from ledger.v_positions p
              where :status::text = 'open' and p.book_id = wanted.book_id and p.status = 'OPEN'
             union
             select p.position_id from ledger.v_positions p
              where :status::text = 'open' and p.book_id = wanted.book_id and p.status = 'CLOSED'
                and p.closed_at > :as_of::timestamptz and p.opened_at <= :as_of::timestamptz
             union
             select v.position_id from ledger.v_action_history v
              where :status::text = 'open' and v.book_id = wanted.book_id
                and v.known_from > :known_as_of::timestamptz and v.executed_at <= :as_of::timestamptz
             union
             select v.position_id from ledger.v_action_history v
              where :status::text = 'open' and v.book_id = wanted.book_id and v.state = 'BOOKED'
                and v.known_to > :known_as_of::timestamptz and v.executed_at <= :as_of::timestamptz
             union
             select x.position_id from ledger.actions_as_of(wanted.book_id, :as_of, :known_as_of) as x
              where :status::text <> 'open' and :ticker::text is null and (select count(*) from within) < :rows_max
                and x.executed_at >= :since::timestamptz
                and (:until::timestamptz is null or x.executed_at < :until::timestamptz)
                and (:instrument::text is null or x.instrument_id = :instrument::text)
                and (:direction::ledger.direction is null or x.direction = :direction::ledger.direction)
         )
         select * from within
         union all
         (select e.book_id, e.position_id, e.executed_at
            from ledger.entries_as_of(wanted.book_id, :as_of, :known_as_of) as e
           where :status::text <> 'open' and e.ticker = :ticker::text and (select count(*) from within) < :rows_max
             and e.executed_at < :since::timestamptz
             and (:instrument::text is null or e.instrument_id = :instrument::text)
             and (:direction::ledger.direction is null or e.direction = :direction::ledger.direction)
             and exists (
                  select from ledger.actions_as_of(wanted.book_id, :as_of, :known_as_of) as x
                   where x.position_id = e.position_id and x.executed_at >= :since::timestamptz
                     and (:until::timestamptz is null or x.executed_at < :until::timestamptz)
                  offset 0)
             and (:status::text = 'all' or exists (
                  select from ledger.actions_as_of(wanted.book_id, :as_of, :known_as_of) as x
                   where x.position_id = e.position_id and x.action_type = 'EXIT' offset 0))
             and (:is_plain::boolean
                  or ledger.stood_as_of(wanted.book_id, e.position_id, :as_of, :known_as_of, :outcome, :min_pnl, :max_pnl, :reason))
             and (:within_positions::uuid[] is null or e.position_id = any(:within_positions::uuid[]))
             and (:within_positions::uuid[] is null
                  or (wanted.book_id, e.position_id) in (select * from unnest(:within_books::text[], :within_positions::uuid[])))
             and (:after_at::timestamptz is null
                  or ((e.executed_at, e.position_id) <= (:after_at::timestamptz, :after_id::uuid)
                      and (e.executed_at, e.position_id, e.book_id) < (:after_at::timestamptz, :after_id::uuid, :after_book::text)))
           order by e.executed_at desc, e.position_id desc
           limit :rows_max)
         union all
         (select e.book_id, e.position_id, e.executed_at
            from candidates c
           cross join lateral (
                select a.* from ledger.actions_as_of(wanted.book_id, :as_of, :known_as_of) as a
                 where a.position_id = c.position_id and a.action_type = 'ENTRY' offset 0) as e
           where (:status::text = 'open' or e.executed_at < :since::timestamptz)
             and (:status::text = 'all' or exists (
                  select from ledger.actions_as_of(wanted.book_id, :as_of, :known_as_of) as x
                   where x.position_id = c.position_id and x.action_type = 'EXIT' offset 0) = (:status::text = 'closed'))
             and (:ticker::text is null or e.ticker = :ticker::text)
             and (:instrument::text is null or e.instrument_id = :instrument::text)
             and (:direction::ledger.direction is null or e.direction = :direction::ledger.direction)
             and (:status::text <> 'open' or (:since::timestamptz is null and :until::timestamptz is null) or exists (
                  select from ledger.actions_as_of(wanted.book_id, :as_of, :known_as_of) as x
                   where x.position_id = c.position_id
                     and (:since::timestamptz is null or x.executed_at >= :since::timestamptz)
                     and (:until::timestamptz is null or x.executed_at < :until::timestamptz)
                  offset 0))
             and (:is_plain::boolean
                  or ledger.stood_as_of(wanted.book_id, e.position_id, :as_of, :known_as_of, :outcome, :min_pnl, :max_pnl, :reason))
             and (:within_positions::uuid[] is null or e.position_id = any(:within_positions::uuid[]))
             and (:within_positions::uuid[] is null
                  or (wanted.book_id, e.position_id) in (select * from unnest(:within_books::text[], :within_positions::uuid[])))
             and (:after_at::timestamptz is null
                  or ((e.executed_at, e.position_id) <= (:after_at::timestamptz, :after_id::uuid)
                      and (e.executed_at, e.position_id, e.book_id) < (:after_at::timestamptz, :after_id::uuid, :after_book::text)))
           order by e.executed_at desc, e.position_id desc
           limit :rows_max)) as held
     order by held.executed_at desc, held.position_id desc, held.book_id desc
     limit :rows_max
), lots_of_found as (
    select a.lot_id
      from found
     cross join lateral (
         select x.lot_id from ledger.actions_as_of(found.book_id, :as_of, :known_as_of) as x
          where x.position_id = found.position_id and x.lot_id is not null and x.action_type in ('ENTRY', 'ADD_ENTRY')
         offset 0) as a
), chosen as (
    select entry.*, last.*
      from found
     cross join lateral (
         select a.book_id, a.position_id, a.action_id as first_action_id, a.fill_seq, a.instrument_id, a.ticker,
                a.direction::text as direction, a.executed_at as opened_at, a.meta->>'rank' as rank, a.meta->>'rr' as rr,
                a.meta->>'script_version' as script_version
           from ledger.actions_as_of(found.book_id, :as_of, :known_as_of) as a
          where a.position_id = found.position_id and a.action_type = 'ENTRY' offset 0) as entry
     cross join lateral (
         select l.executed_at as last_action_at, l.price as last_price, l.reason as last_reason, l.position_quantity_after,
                l.position_quantity_opened_after, l.position_vwap_after, l.position_cost_basis_after,
                l.position_realized_pnl_after
           from ledger.actions_as_of(found.book_id, :as_of, :known_as_of) as l
          where l.position_id = found.position_id
          order by l.executed_at desc, l.venue_order desc, l.fill_id desc, l.leg desc limit 1) as last
)
select chosen.*, fill.contract_name, fill.cash_style, told.created_at, total.*
  from chosen
  join ledger.v_fill_history fill on fill.book_id = chosen.book_id and fill.seq = chosen.fill_seq
 cross join lateral (
     select min(v.known_from) as created_at from ledger.v_action_history v
      where v.book_id = chosen.book_id and v.action_id = chosen.first_action_id and v.known_from <= :known_as_of) as told
 cross join lateral (
     select count(*) as action_count, max(a.known_from) as updated_at,
            coalesce(max(a.currency) filter (where a.currency <> 'XXX'), 'XXX') as currency, max(a.multiplier) as multiplier,
            max(a.executed_at) filter (where k.opens) as last_opened_at,
            sum(a.quantity * a.price) filter (where k.opens) as entry_notional,
            sum(a.quantity * a.price) filter (where not k.opens) as exit_notional,
            case when bool_and(a.value is not null and a.fees is not null) filter (where k.opens)
                 then sum(a.value + k.sign * a.fees) filter (where k.opens) end as opening_basis,
            case when bool_and(a.fees is not null) then sum(a.fees) end as fees_total,
            case when bool_and(a.realized_pnl_gross is not null) filter (where not k.opens) is not false
                 then coalesce(sum(a.realized_pnl_gross), 0) end as realized_pnl_gross,
            case when bool_and(a.realized_pnl_base is not null) filter (where not k.opens) is not false
                 then coalesce(sum(a.realized_pnl_base), 0) end as realized_pnl_base,
            max(a.executed_at) filter (where a.action_type = 'TRIM') as trimmed_at,
            (array_agg(a.price order by a.executed_at desc, a.venue_order desc, a.fill_id desc)
             filter (where a.action_type = 'TRIM'))[1] as trim_price
       from ledger.actions_as_of(chosen.book_id, :as_of, :known_as_of) as a
      cross join lateral (select a.action_type in ('ENTRY', 'ADD_ENTRY') as opens,
                                 case when a.direction = 'LONG' then 1 else -1 end as sign) as k
      where a.position_id = chosen.position_id) as total
 order by chosen.opened_at desc, chosen.position_id desc, chosen.book_id desc;

-- name: actions_as_of
-- The actions of some positions (pairs of book and position) in booking order, with their fills and closings.
select a.book_id, a.position_id, a.version, a.known_from, to_json(a) as action, to_json(f) as fill, c.closings
  from unnest(:books::text[], :positions::uuid[]) as wanted(book_id, position_id)
 cross join lateral (
     select x.* from ledger.actions_as_of(wanted.book_id, :as_of, :known_as_of) as x
      where x.position_id = wanted.position_id offset 0) as a
  join ledger.v_fill_history f on f.book_id = a.book_id and f.seq = a.fill_seq
  left join lateral (
      select json_agg(v order by v.ordinal) as closings from ledger.v_closing_history v
       where v.book_id = a.book_id and v.action_id = a.action_id and v.version = a.version) as c on true
 order by a.book_id, a.position_id, a.executed_at, a.venue_order, a.fill_id, a.leg
 limit :rows_max;

-- name: splits_as_of
-- The splits of a book in force by T.
select to_json(j) as row from ledger.splits_as_of(:book_id, :as_of, :known_as_of) as j order by j.effective_at, j.adjustment_id;

-- name: marks_as_of
-- The last mark of each instrument (pairs of book and instrument) at or before an instant, as it was seen.
select wanted.book_id, wanted.instrument, m.price, m.marked_at, m.source
  from unnest(:books::text[], :instruments::text[]) as wanted(book_id, instrument)
 cross join lateral (
     select v.price, v.marked_at, v.source from ledger.v_mark_history v
      where v.book_id = wanted.book_id and v.instrument_id = wanted.instrument
        and v.bucket_at <= :at::timestamptz and v.marked_at <= :at::timestamptz
      order by v.bucket_at desc limit 1) as m;

-- name: totals_as_of
-- What was moved, paid and realized in a book by T, per currency; a position realizes in its own, known or unknown.
with booked as (
    select * from ledger.actions_as_of(:book_id, :as_of, :known_as_of)
), moved as (
    select currency, case when bool_and(cash_effect is not null) then sum(cash_effect) end as cash_effect,
           case when bool_and(fees is not null) then sum(fees) end as fees
      from booked group by currency
), earned as (
    select coalesce(max(currency) filter (where currency <> 'XXX'), 'XXX') as currency,
           case when bool_and(realized_pnl is not null) filter (where action_type in ('TRIM', 'EXIT')) is not false
                then coalesce(sum(realized_pnl), 0) end as realized_pnl
      from booked group by position_id
), realized as (
    select currency, case when bool_and(realized_pnl is not null) then sum(realized_pnl) end as realized_pnl
      from earned group by currency
)
select currency, moved.currency is not null as has_moved, moved.cash_effect, moved.fees,
       realized.currency is not null as has_realized, realized.realized_pnl
  from moved full join realized using (currency)
 order by currency;

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
select to_json(a)::text as row,
       (select json_agg(c order by c.ordinal)::text from ledger.closings c
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

-- name: worth_kept
-- The days of a book whose worth is kept, each with its moments, and when the book's first action was; one row at least.
select b.began_at, w.day, w.held_at, w.valued_at
  from (select min(a.executed_at) as began_at from ledger.v_actions a where a.book_id = :book_id) as b
  left join (select distinct k.day, k.held_at, k.valued_at from ledger.worth_days k where k.book_id = :book_id) as w on true;

-- name: books_to_carry
-- The books whose sums of days are kept: all but replays.
select book_id from ledger.books where book_id not like 'replay:%' order by book_id;
