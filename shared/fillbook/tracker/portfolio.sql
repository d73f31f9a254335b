-- Statements about what the books are worth: positions as they were held at an instant, at the marks that were seen by another.
-- Views of the ledger alone. What was held is what the position says where nothing happened to it since, else Σ lots − Σ their
-- closings by then; an unknown part is counted and never zero.

-- name: start_cash
-- What each book began with.
select base_currency as currency, sum(start_cash) as start_cash
  from ledger.v_books
 where book_id = any(:books::text[])
 group by base_currency
 order by base_currency;

-- name: worth_at
-- Per moment and currency what the open positions were worth: held by ``held_at`` (included), valued at the last mark before
-- ``valued_at``, which within a session is the instant after the one asked for. outlay: the cash that stands in them, in one that is paid in full its basis, else its fees. lacks_<what>: of how
-- many it is not known.
select w.n, w.currency, count(*) as open_positions, coalesce(sum(w.unrealized), 0) as unrealized,
       count(*) filter (where w.unrealized is null) as lacks_unrealized,
       coalesce(sum(w.sign * w.worth), 0) as net, coalesce(sum(abs(w.worth)), 0) as gross,
       count(*) filter (where w.worth is null) as lacks_worth,
       coalesce(sum(w.outlay), 0) as outlay, count(*) filter (where w.outlay is null) as lacks_outlay,
       count(*) filter (where w.is_stale) as stale,
       coalesce(array_agg(distinct w.symbol order by w.symbol) filter (where w.price is null), '{}') as missing_marks
  from (select m.n, p.currency, p.symbol, k.price, k.as_of < m.valued_at - interval '15 minutes 1 microsecond' as is_stale, s.sign,
               k.price * h.quantity * p.multiplier as worth,
               s.sign * (k.price * h.quantity * p.multiplier - h.basis) as unrealized,
               case when p.cash_style = 'full' then s.sign * h.basis else h.fees end as outlay
          from unnest(:ns::integer[], :held_ats::timestamptz[], :valued_ats::timestamptz[]) as m(n, held_at, valued_at)
         cross join unnest(:books::text[]) as b(book_id)
         cross join lateral (
               (select * from ledger.v_positions q
                 where q.book_id = b.book_id and q.status = 'OPEN' and q.opened_at <= m.held_at
                 order by q.instrument_id, q.direction offset 0)
               union all
               (select * from ledger.v_positions q
                 where q.book_id = b.book_id and q.status = 'CLOSED' and q.closed_at > m.held_at and q.opened_at <= m.held_at
                 order by q.closed_at, q.opened_at offset 0)) as p
         cross join lateral (select case p.direction when 'LONG' then 1 else -1 end as sign) as s
         cross join lateral (
               select p.quantity_open as quantity, p.cost_basis as basis, null::numeric as fees
                where p.last_action_at <= m.held_at and p.cash_style = 'full'
               union all
               select sum(l.held), case when bool_and(l.cost_basis is not null) then sum(l.cost_basis * l.held / l.quantity) end,
                      case when bool_and(l.fees is not null) then sum(l.fees * l.held / l.quantity) end
                 from (select l.quantity, l.cost_basis, l.fees, l.quantity - coalesce(c.quantity, 0) as held
                         from ledger.v_lots l
                         left join lateral (
                               select sum(v.quantity) as quantity from ledger.v_closings v
                                where v.book_id = l.book_id and v.lot_id = l.lot_id and v.executed_at <= m.held_at offset 0) as c on true
                        where l.book_id = p.book_id and l.position_id = p.position_id and l.opened_at <= m.held_at) as l
                where l.held > 0 and not (p.last_action_at <= m.held_at and p.cash_style = 'full')) as h
          left join lateral (
               select v.price, v.as_of from ledger.v_marks v
                where v.book_id = p.book_id and v.instrument_id = p.instrument_id and v.bucket_at < m.valued_at
                  and v.as_of < m.valued_at
                order by v.bucket_at desc limit 1) as k on true
         where h.quantity > 0) as w
 group by w.n, w.currency
 order by w.n, w.currency;

-- name: minutes
-- Per minute end of a session and currency: what was held and how it was marked changes seldom, so that each stretch of minutes with
-- one quantity and one mark enters where it begins and leaves where it ends. A mark is seen from the end of its five minutes on and
-- after fifteen minutes it is stale. Only minutes at which something changes; the sums are those of all stretches under way.
with held as materialized (
    select p.book_id, p.position_id, p.instrument_id, p.book_id || ' ' || p.instrument_id as place, p.currency, p.multiplier,
           p.quantity_open, p.cost_basis,
           p.last_action_at <= :open_at::timestamptz as is_still, case p.direction when 'LONG' then 1 else -1 end as sign,
           case when p.closed_at <= :last_at::timestamptz then
                greatest(1, ceil(extract(epoch from p.closed_at - :open_at::timestamptz) / 60))::integer end as closed_minute
      from unnest(:books::text[]) as b(book_id)
     cross join lateral (
           (select * from ledger.v_positions q
             where q.book_id = b.book_id and q.status = 'OPEN' and q.opened_at <= :last_at::timestamptz
             order by q.instrument_id, q.direction offset 0)
           union all
           (select * from ledger.v_positions q
             where q.book_id = b.book_id and q.status = 'CLOSED' and q.closed_at > :open_at::timestamptz
               and q.opened_at <= :last_at::timestamptz
             order by q.closed_at, q.opened_at offset 0)) as p
), moves as (
    select p.position_id, p.book_id, m.quantity, m.basis, m.unknown,
           greatest(1, ceil(extract(epoch from m.happened_at - :open_at::timestamptz) / 60))::integer as minute
      from held p
     cross join lateral (
           (select :open_at::timestamptz as happened_at, p.quantity_open as quantity, coalesce(p.cost_basis, 0) as basis,
                   case when p.cost_basis is null then p.quantity_open else 0 end as unknown
             where p.is_still)
           union all
           (select l.opened_at, l.quantity, coalesce(l.cost_basis, 0), case when l.cost_basis is null then l.quantity else 0 end
              from ledger.v_lots l
             where not p.is_still and l.book_id = p.book_id and l.position_id = p.position_id and l.opened_at <= :last_at::timestamptz
             order by l.opened_at offset 0)
           union all
           (select c.executed_at, -c.quantity, -coalesce(l.cost_basis * c.quantity / l.quantity, 0),
                   case when l.cost_basis is null then -c.quantity else 0 end
              from (select * from ledger.v_closings c
                     where not p.is_still and c.book_id = p.book_id and c.position_id = p.position_id and c.executed_at <= :last_at::timestamptz
                     order by c.executed_at offset 0) as c
             cross join lateral (select * from ledger.v_lots l where l.book_id = p.book_id and l.lot_id = c.lot_id offset 0) as l
            offset 0)) as m
), stretches as (
    select x.*
      from (select m.book_id, m.position_id, m.minute as from_minute, lead(m.minute, 1, :minutes::integer + 1) over w as to_minute,
                   sum(m.quantity) over w as quantity, sum(m.basis) over w as basis, sum(m.unknown) over w as unknown
              from (select book_id, position_id, minute, sum(quantity) as quantity, sum(basis) as basis, sum(unknown) as unknown
                      from moves where minute <= :minutes::integer group by book_id, position_id, minute) as m
            window w as (partition by m.book_id, m.position_id order by m.minute)) as x
     where x.quantity > 0
), instruments as (
    select distinct h.book_id, h.instrument_id, h.place,
           exists (select from ledger.v_split_history j where j.book_id = h.book_id and j.instrument = h.instrument_id) as is_split
      from held h
), seen as (
    select i.place, 1 as minute, m.price, m.as_of
      from instruments i
      left join lateral (
           select v.price, v.as_of from ledger.v_marks v
            where v.book_id = i.book_id and v.instrument_id = i.instrument_id
              and v.bucket_at <= :open_at::timestamptz - interval '4 minutes'
            order by v.bucket_at desc limit 1) as m on true
    union all
    select i.place,
           greatest(1, ceil(extract(epoch from m.bucket_at + interval '5 minutes' - :open_at::timestamptz) / 60))::integer,
           m.price, m.as_of
      from instruments i
     cross join lateral (
           (select h.bucket_at, h.price, h.marked_at as as_of from ledger.v_mark_history h
             where not i.is_split and h.book_id = i.book_id and h.instrument_id = i.instrument_id
               and h.bucket_at > :open_at::timestamptz - interval '4 minutes'
               and h.bucket_at <= :valued_at::timestamptz - interval '5 minutes'
             order by h.bucket_at offset 0)
           union all
           (select v.bucket_at, v.price, v.as_of from ledger.v_marks v
             where i.is_split and v.book_id = i.book_id and v.instrument_id = i.instrument_id
               and v.bucket_at > :open_at::timestamptz - interval '4 minutes'
               and v.bucket_at <= :valued_at::timestamptz - interval '5 minutes'
             order by v.bucket_at offset 0)) as m
), marks as (
    select f.place, f.price, v.from_minute, v.to_minute, v.is_stale
      from (select s.*, lead(minute, 1, :minutes::integer + 1) over (partition by place order by minute) as next_minute,
                   floor(extract(epoch from as_of - :open_at::timestamptz) / 60 + 15)::integer + 1 as stale_minute
              from seen s) as f
     cross join lateral (values
           (f.minute, least(f.next_minute, f.stale_minute), false),
           (case when f.as_of is not null then greatest(f.minute, f.stale_minute) end, f.next_minute, true)
           ) as v(from_minute, to_minute, is_stale)
     where v.from_minute < v.to_minute
), pieces as (
    select h.currency, greatest(s.from_minute, m.from_minute) as from_minute,
           least(s.to_minute, m.to_minute, coalesce(h.closed_minute, s.to_minute)) as to_minute, m.is_stale,
           case when s.unknown = 0 then h.sign * (h.multiplier * s.quantity * m.price - s.basis) end as unrealized
      from held h
      join stretches s on s.book_id = h.book_id and s.position_id = h.position_id
      join marks m on m.place = h.place and m.from_minute < s.to_minute and m.to_minute > s.from_minute
), steps as (
    select p.currency, e.minute, e.way as positions, e.way * coalesce(p.unrealized, 0) as unrealized,
           case when p.unrealized is null then e.way else 0 end as lacks, case when p.is_stale then e.way else 0 end as stale,
           0 as realized, 0 as unknown
      from pieces p
     cross join lateral (values (p.from_minute, 1), (p.to_minute, -1)) as e(minute, way)
     where p.from_minute < p.to_minute
    union all
    select a.currency, greatest(1, ceil(extract(epoch from a.executed_at - :open_at::timestamptz) / 60))::integer, 0, 0, 0, 0,
           coalesce(a.realized_pnl, 0), case when a.realized_pnl is null then 1 else 0 end
      from unnest(:books::text[]) as b(book_id)
     cross join lateral (
           select x.currency, x.executed_at, x.realized_pnl from ledger.v_actions x
            where x.book_id = b.book_id and x.executed_at > :since::timestamptz and x.executed_at <= :last_at::timestamptz
              and x.action_type::text in ('TRIM', 'EXIT') offset 0) as a
)
select s.currency, s.minute, sum(sum(s.positions)) over w as positions, sum(sum(s.unrealized)) over w as unrealized,
       sum(sum(s.lacks)) over w as lacks, sum(sum(s.stale)) over w as stale, sum(sum(s.realized)) over w as realized,
       sum(sum(s.unknown)) over w as unknown
  from steps s
 where s.minute <= :minutes::integer
 group by s.currency, s.minute
window w as (partition by s.currency order by s.minute)
 order by s.currency, s.minute;
