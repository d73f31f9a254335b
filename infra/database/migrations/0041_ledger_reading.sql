-- What an account is worth is read with fewer steps: no look at the book of a row whose columns nobody asks for, what open positions
-- hold is read once for all of them, and their last mark is looked for in the last days before it is in all. Every figure stays
-- what it was. Source: tracker.md 4.3, 12; decision 0067.

-- A position, a lot and a closing always have their book, their action and their lot (foreign keys), so outer joins say the same as
-- inner ones; but a reader that asks for no column of theirs does not pay for them.
create or replace view ledger.v_positions as
    select p.book_id, b.tenant_id, p.position_id, p.first_action_id, p.instrument as instrument_id, p.ticker as symbol,
           p.contract_name, p.direction, p.status, p.multiplier, p.currency, p.is_net, p.cash_style, p.quantity_open,
           p.quantity_opened, p.quantity_closed, p.value_open, p.cost_basis, p.vwap, p.entry_vwap, p.exit_vwap, p.value_opened,
           p.value_initial, p.fees_total, p.realized_pnl, p.realized_pnl_gross, p.realized_pnl_base, p.split_factor, p.opened_at,
           p.last_opened_at, p.last_action_at, p.closed_at, p.action_count, p.open_lot_count
      from ledger.positions p left join ledger.books b on b.book_id = p.book_id
     where p.status <> 'VOID';

create or replace view ledger.v_lots as
    select l.book_id, b.tenant_id, l.lot_id, l.position_id, l.fill_id, l.action_id, l.lot_ref, l.opened_at,
           l.quantity_adjusted as quantity, l.quantity_open, l.price_adjusted as price, l.basis as cost_basis,
           l.basis_open as cost_basis_open, l.value, l.fees, l.split_factor, l.status
      from ledger.lots l left join ledger.books b on b.book_id = l.book_id
     where l.status <> 'VOID';

create or replace view ledger.v_closings as
    select c.book_id, b.tenant_id, c.action_id, a.position_id, c.lot_id, c.ordinal,
           round(c.quantity * l.split_factor / c.split_factor, 10) as quantity,
           round(a.price * c.split_factor / l.split_factor, 10) as price,
           round(c.lot_price * c.split_factor / l.split_factor, 10) as lot_price,
           c.close_value, c.lot_value, c.proceeds, c.lot_basis, c.realized_pnl, c.realized_pnl_gross, c.realized_pnl_base,
           a.currency, c.executed_at
      from ledger.closings c
      left join ledger.books b on b.book_id = c.book_id
      join ledger.execution_actions a
        on a.book_id = c.book_id and a.action_id = c.action_id and a.version = c.version
       and a.superseded_at is null and a.state = 'BOOKED'
      left join ledger.lots l on l.book_id = c.book_id and l.lot_id = c.lot_id;

create or replace view ledger.v_closing_history as
    select c.*, b.tenant_id from ledger.closings c left join ledger.books b on b.book_id = c.book_id;

-- As before, in three ways to what was held: positions as they stand, without closings or with them (then their open lots, read once),
-- and those to which something happened since: Σ lots − Σ their closings by then.
create or replace function ledger.worth_at(asked_books text[], asked_ns integer[], asked_held timestamptz[], asked_valued timestamptz[])
returns table (n integer, book_id text, currency text, open_positions bigint, unrealized numeric, lacks_unrealized bigint, net numeric,
               gross numeric, lacks_worth bigint, outlay numeric, lacks_outlay bigint, stale bigint, missing_marks text[])
language sql stable as $$
    with asked as (
        select x.book_id, array_agg(x.n order by x.held_at, x.n) as ns, array_agg(x.held_at order by x.held_at, x.n) as held_ats,
               array_agg(x.valued_at order by x.held_at, x.n) as valued_ats, min(x.held_at) as first_at, max(x.held_at) as last_at
          from unnest(asked_books, asked_ns, asked_held, asked_valued) as x(book_id, n, held_at, valued_at)
         group by x.book_id
    ), split as materialized (
        select distinct j.book_id, j.instrument from asked a join ledger.v_split_history j on j.book_id = a.book_id
    ), lots as materialized (
        select l.book_id, l.position_id, sum(l.quantity_open) as quantity,
               case when bool_and(l.cost_basis is not null) then sum(l.cost_basis * l.quantity_open / l.quantity) end as basis,
               case when bool_and(l.fees is not null) then sum(l.fees * l.quantity_open / l.quantity) end as fees
          from asked a
         cross join lateral (select * from ledger.v_lots o where o.book_id = a.book_id and o.quantity_open > 0 offset 0) as l
         group by l.book_id, l.position_id
    )
    select w.n, w.book_id, w.currency, count(*), coalesce(sum(w.unrealized), 0), count(*) filter (where w.unrealized is null),
           coalesce(sum(w.sign * w.worth), 0), coalesce(sum(abs(w.worth)), 0), count(*) filter (where w.worth is null),
           coalesce(sum(w.outlay), 0), count(*) filter (where w.outlay is null), count(*) filter (where w.is_stale),
           coalesce(array_agg(distinct w.symbol order by w.symbol) filter (where w.price is null), '{}')
      from (select m.n, p.book_id, p.currency, p.symbol, k.price, k.as_of < m.valued_at - interval '15 minutes 1 microsecond' as is_stale, s.sign,
                   k.price * h.quantity * p.multiplier as worth,
                   s.sign * (k.price * h.quantity * p.multiplier - h.basis) as unrealized,
                   case when p.cash_style = 'full' then s.sign * h.basis else h.fees end as outlay
              from asked a
             cross join lateral (
                   (select * from ledger.v_positions q
                     where q.book_id = a.book_id and q.status = 'OPEN' and q.opened_at <= a.last_at offset 0)
                   union all
                   (select * from ledger.v_positions q
                     where q.book_id = a.book_id and q.status = 'CLOSED' and q.closed_at > a.first_at and q.opened_at <= a.last_at
                       and width_bucket(q.opened_at - interval '1 microsecond', a.held_ats)
                           < width_bucket(q.closed_at - interval '1 microsecond', a.held_ats)
                     order by q.closed_at, q.opened_at offset 0)) as p
              left join lots l on l.book_id = p.book_id and l.position_id = p.position_id
             cross join lateral generate_series(
                   width_bucket(p.opened_at - interval '1 microsecond', a.held_ats) + 1,
                   coalesce(width_bucket(p.closed_at - interval '1 microsecond', a.held_ats), cardinality(a.held_ats))) as i
             cross join lateral (select a.ns[i] as n, a.held_ats[i] as held_at, a.valued_ats[i] as valued_at) as m
             cross join lateral (
                   select case p.direction when 'LONG' then 1 else -1 end as sign,
                          p.status = 'OPEN' and p.last_action_at <= m.held_at as is_still,
                          p.quantity_closed = 0 and p.cash_style = 'full' as is_whole,
                          (p.book_id, p.instrument_id) in (select * from split) as is_split) as s
             cross join lateral (
                   select case when s.is_whole then p.quantity_open else l.quantity end as quantity,
                          case when s.is_whole then p.cost_basis else l.basis end as basis,
                          case when not s.is_whole then l.fees end as fees
                    where s.is_still
                   union all
                   (select sum(v.held), case when bool_and(v.cost_basis is not null) then sum(v.cost_basis * v.held / v.quantity) end,
                           case when bool_and(v.fees is not null) then sum(v.fees * v.held / v.quantity) end
                      from (select o.quantity, o.cost_basis, o.fees, o.quantity - coalesce(c.quantity, 0) as held
                              from ledger.v_lots o
                              left join lateral (
                                    select sum(v.quantity) as quantity from ledger.v_closings v
                                     where v.book_id = o.book_id and v.lot_id = o.lot_id and v.executed_at <= m.held_at offset 0) as c on true
                             where not s.is_still and o.book_id = p.book_id and o.position_id = p.position_id
                               and o.opened_at <= m.held_at
                            offset 0) as v
                     where v.held > 0 and not s.is_still)) as h
              left join lateral (
                   select v.price, v.marked_at as as_of from ledger.v_mark_history v
                    where not s.is_split and v.book_id = p.book_id and v.instrument_id = p.instrument_id
                      and v.bucket_at < m.valued_at and v.bucket_at >= m.valued_at - interval '4 days' and v.marked_at < m.valued_at
                    order by v.bucket_at desc limit 1) as r on true
              left join lateral (
                   (select v.price, v.marked_at as as_of from ledger.v_mark_history v
                     where not s.is_split and r.price is null and v.book_id = p.book_id and v.instrument_id = p.instrument_id
                       and v.bucket_at < m.valued_at - interval '4 days' and v.marked_at < m.valued_at
                     order by v.bucket_at desc limit 1)
                   union all
                   (select v.price, v.as_of from ledger.v_marks v
                     where s.is_split and v.book_id = p.book_id and v.instrument_id = p.instrument_id
                       and v.bucket_at < m.valued_at and v.as_of < m.valued_at
                     order by v.bucket_at desc limit 1)) as e on true
             cross join lateral (select coalesce(r.price, e.price) as price, coalesce(r.as_of, e.as_of) as as_of) as k
             where h.quantity > 0) as w
     group by w.n, w.book_id, w.currency
$$;
