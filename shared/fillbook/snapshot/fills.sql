-- Statements of room snapshot about the ledger actions behind a figure, read from the ledger's views. What an action gives to the figure
-- is its contribution, NULL where a figure is no sum over actions; a total leaves out what was recorded after the day was published.
-- Amounts of another currency than their book's are no part of any figure.

-- name: of_the_day
-- The actions executed within a day's window, all of them or those of some types.
with behind as (
    select a.book_id, a.action_id, a.executed_at, a.recorded_at > :known_at as is_late,
           case :measure::text when 'one' then 1 when 'value' then abs(a.value) when 'fees' then a.fees
                               when 'realized' then a.realized_pnl end as contribution
      from ledger.v_actions a
      join ledger.v_books b on b.book_id = a.book_id
     where a.book_id = any(:books::text[]) and a.currency = b.base_currency
       and a.executed_at >= :since and a.executed_at < :until and a.executed_at <= :as_of
       and (:types::text[] is null or a.action_type::text = any(:types::text[]))),
counted as (
    select x.*, count(*) over () as actions, sum(x.contribution) filter (where x.is_late is not true) over () as total from behind x)
select book_id, action_id, executed_at, is_late, contribution, actions, total
  from counted
 where :after_at::timestamptz is null or (executed_at, action_id) > (:after_at::timestamptz, :after_id::uuid)
 order by executed_at, action_id
 limit :limit;

-- name: of_closed_positions
-- Every action of the positions that an action of the day closed.
with counted as (
    select a.book_id, a.action_id, a.executed_at, a.recorded_at > :known_at as is_late, null::numeric as contribution,
           count(*) over () as actions, null::numeric as total
      from ledger.v_positions p
      join ledger.v_books b on b.book_id = p.book_id
      join ledger.v_actions a on a.book_id = p.book_id and a.position_id = p.position_id and a.executed_at <= :as_of
     where p.book_id = any(:books::text[]) and p.currency = b.base_currency
       and p.closed_at >= :since and p.closed_at < :until and p.closed_at <= :as_of)
select book_id, action_id, executed_at, is_late, contribution, actions, total
  from counted
 where :after_at::timestamptz is null or (executed_at, action_id) > (:after_at::timestamptz, :after_id::uuid)
 order by executed_at, action_id
 limit :limit;

-- name: of_open_lots
-- The actions that opened what was held when the day was valued and, where a time is given, those that closed anything since.
with lots as (
    select l.book_id, l.action_id, p.instrument_id, p.multiplier, case when p.direction::text = 'LONG' then 1 else -1 end as sign,
           l.quantity - coalesce(c.closed, 0) as held, l.cost_basis, l.quantity,
           ledger.units_missed(l.book_id, p.instrument_id, l.opened_at, l.split_factor) as units
      from ledger.v_lots l
      join ledger.v_positions p on p.book_id = l.book_id and p.position_id = l.position_id
      join ledger.v_books b on b.book_id = l.book_id
      left join lateral (select sum(v.quantity) as closed from ledger.v_closings v
                          where v.book_id = l.book_id and v.lot_id = l.lot_id and v.executed_at <= :as_of) c on true
     where l.book_id = any(:books::text[]) and p.currency = b.base_currency and l.opened_at <= :as_of
       and (p.closed_at is null or p.closed_at > :as_of)),
valued as (
    select o.book_id, o.action_id, o.sign, o.cost_basis * o.held / o.quantity as basis, m.price * o.held * o.units * o.multiplier as worth,
           case when o.sign > 0 then (m.bid + m.ask) / 2 - m.bid else m.ask - (m.bid + m.ask) / 2 end * o.held * o.units * o.multiplier as drag
      from lots o
      left join lateral (select v.price, v.bid, v.ask from ledger.v_marks v
                          where v.book_id = o.book_id and v.instrument_id = o.instrument_id and v.bucket_at < :valuation_at
                            and v.as_of < :valuation_at
                          order by v.bucket_at desc limit 1) m on true
     where o.held > 0),
behind as (
    select v.book_id, v.action_id,
           case :measure::text when 'unrealized' then v.sign * (v.worth - v.basis) when 'gross' then abs(v.worth)
                               when 'net' then v.sign * v.worth when 'drag' then v.drag end as contribution
      from valued v
    union all
    select a.book_id, a.action_id, case :measure::text when 'unrealized' then a.realized_pnl end
      from ledger.v_actions a
      join ledger.v_books b on b.book_id = a.book_id
     where a.book_id = any(:books::text[]) and a.currency = b.base_currency and a.executed_at >= :closings_since::timestamptz
       and a.executed_at <= :as_of and a.action_type::text in ('TRIM', 'EXIT')),
counted as (
    select x.book_id, x.action_id, a.executed_at, a.recorded_at > :known_at as is_late, round(x.contribution, 8) as contribution,
           count(*) over () as actions,
           round(sum(x.contribution) filter (where (a.recorded_at > :known_at) is not true) over (), 8) as total
      from behind x
      join ledger.v_actions a on a.book_id = x.book_id and a.action_id = x.action_id)
select book_id, action_id, executed_at, is_late, contribution, actions, total
  from counted
 where :after_at::timestamptz is null or (executed_at, action_id) > (:after_at::timestamptz, :after_id::uuid)
 order by executed_at, action_id
 limit :limit;

-- name: fills_shown
-- The actions of a page as they are shown, with what each gives to the figure.
select coalesce(json_agg(json_build_object(
           'book_id', a.book_id, 'action_id', a.action_id, 'fill_id', a.fill_id, 'position_id', a.position_id, 'symbol', p.symbol,
           'contract_name', p.contract_name, 'direction', a.direction, 'action_type', a.action_type,
           'executed_at', to_char(a.executed_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
           'recorded_at', to_char(a.recorded_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
           'quantity', trim_scale(a.quantity), 'price', trim_scale(a.price), 'value', trim_scale(a.value),
           'fees', trim_scale(a.fees), 'realized_pnl', trim_scale(a.realized_pnl), 'contribution', trim_scale(r.contribution),
           'is_late', r.is_late) order by a.executed_at, a.action_id), '[]')::text as items
  from jsonb_to_recordset(:page::jsonb) as r(book_id text, action_id uuid, contribution numeric, is_late boolean)
  join ledger.v_actions a on a.book_id = r.book_id and a.action_id = r.action_id
  join ledger.v_positions p on p.book_id = a.book_id and p.position_id = a.position_id;

-- name: basis_of_day
-- What a published day was computed from: its books, when it was valued, and up to when facts were known.
select d.provenance->'books' as books, d.watermark->>'as_of' as as_of, d.watermark->>'valuation_at' as valuation_at,
       d.watermark->>'last_recorded_at' as known_at
  from metrics.metrics_daily d
 where d.date = :date;
