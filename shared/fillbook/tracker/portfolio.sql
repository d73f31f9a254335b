-- Statements about what the books are worth: positions as they were held at an instant, at the marks that were seen by another.
-- Views of the ledger alone. What was held is what the position says where nothing happened to it since, else Σ lots − Σ their
-- closings by then; an unknown part is counted and never zero.

-- name: start_cash, planned once
-- What each book began with.
select base_currency as currency, sum(start_cash) as start_cash
  from ledger.v_books
 where book_id = any(:books::text[])
 group by base_currency
 order by base_currency;

-- name: worth_at, planned once
-- Per moment, book and currency what the open positions were worth, as the ledger says it for every reader.
select *
  from ledger.worth_at(:books::text[], :ns::integer[], :held_ats::timestamptz[], :valued_ats::timestamptz[])
 order by n, book_id, currency;

-- name: kept_worth, planned once
-- What days' positions had gained at the close, kept of some spans of days; a day whose moments are others does not count.
select k.book_id, k.day, k.currency, k.held_at, k.valued_at, k.open_positions, k.unrealized, k.lacks_unrealized, k.stale
  from unnest(:books::text[], :firsts::date[], :lasts::date[]) as s(book_id, first, last)
 cross join lateral (
       select * from ledger.v_worth_days x
        where x.book_id = s.book_id and x.day >= s.first and x.day <= s.last offset 0) as k;

-- name: minutes, planned once
-- Per minute end of a session and currency what was held and how it was marked: only minutes at which something changes, the sums
-- of all changes up to there. What nothing happened to since the open changes with its marks alone, instrument by instrument: a
-- position that lacks its basis is counted and adds nothing. Of the others each stretch of minutes with one quantity and one mark
-- enters where it begins and leaves where it ends, counted in today's units as its price is; the marks of these instruments alone are
-- looked at for it. A mark is seen from the end of its
-- five minutes on and after fifteen minutes it is stale; one that has another within ten minutes never is. The last mark before the
-- open is looked for in a day, then before.
with held as materialized (
    select p.book_id, p.position_id, p.instrument_id, p.currency, p.multiplier, p.quantity_open, p.quantity_closed, p.cost_basis,
           p.status = 'OPEN' and p.last_action_at <= :open_at::timestamptz as is_still,
           (p.book_id, p.instrument_id) in (select j.book_id, j.instrument from ledger.v_split_history j
                                             where j.book_id = any(:books::text[])) as is_split,
           case p.direction when 'LONG' then 1 else -1 end as sign,
           case when p.closed_at <= :last_at::timestamptz then
                greatest(1, ceil(extract(epoch from p.closed_at - :open_at::timestamptz) / 60))::integer end as closed_minute
      from unnest(:books::text[]) as b(book_id)
     cross join lateral (
           (select * from ledger.v_positions q
             where q.book_id = b.book_id and q.status = 'OPEN' and q.opened_at <= :last_at::timestamptz offset 0)
           union all
           (select * from ledger.v_positions q
             where q.book_id = b.book_id and q.status = 'CLOSED' and q.closed_at > :open_at::timestamptz
               and q.opened_at <= :last_at::timestamptz
             order by q.closed_at, q.opened_at offset 0)) as p
), lots as materialized (
    select l.book_id, l.position_id, sum(l.quantity_open) as quantity,
           case when bool_and(l.cost_basis is not null) then sum(l.cost_basis * l.quantity_open / l.quantity) end as basis
      from unnest(:books::text[]) as b(book_id)
     cross join lateral (select * from ledger.v_lots o where o.book_id = b.book_id and o.quantity_open > 0 offset 0) as l
     group by l.book_id, l.position_id
), instruments as materialized (
    select g.*, row_number() over () as place
      from (select h.book_id, h.instrument_id, h.currency, bool_or(h.is_split) as is_split,
                   (count(*) filter (where h.is_still))::integer as positions,
                   (count(h.basis) filter (where h.is_still))::integer as known,
                   coalesce(sum(h.sign * h.multiplier * h.quantity) filter (where h.is_still and h.basis is not null), 0) as weight,
                   coalesce(sum(h.sign * h.basis) filter (where h.is_still), 0) as basis
              from (select p.*, case when p.quantity_closed = 0 then p.quantity_open else l.quantity end as quantity,
                           case when p.quantity_closed = 0 then p.cost_basis else l.basis end as basis
                      from held p
                      left join lots l on l.book_id = p.book_id and l.position_id = p.position_id) as h
             group by h.book_id, h.instrument_id, h.currency) as g
), last as materialized (
    select i.*, coalesce(m.bucket_at, o.bucket_at) as bucket_at, coalesce(m.price, o.price) as price, coalesce(m.as_of, o.as_of) as as_of
      from instruments i
      left join lateral (
           select h.bucket_at, h.price, h.marked_at as as_of from ledger.v_mark_history h
            where not i.is_split and h.book_id = i.book_id and h.instrument_id = i.instrument_id
              and h.bucket_at <= :valued_at::timestamptz - interval '5 minutes' and h.bucket_at > :valued_at::timestamptz - interval '4 days'
            order by h.bucket_at desc limit 1) as m on true
      left join lateral (
           (select h.bucket_at, h.price, h.marked_at as as_of from ledger.v_mark_history h
             where not i.is_split and m.price is null and h.book_id = i.book_id and h.instrument_id = i.instrument_id
               and h.bucket_at <= :valued_at::timestamptz - interval '4 days'
             order by h.bucket_at desc limit 1)
           union all
           (select v.bucket_at, v.price, v.as_of from ledger.v_marks v
             where i.is_split and v.book_id = i.book_id and v.instrument_id = i.instrument_id
               and v.bucket_at <= :valued_at::timestamptz - interval '5 minutes'
             order by v.bucket_at desc limit 1)) as o on true
), moving as materialized (
    select i.*, f.bucket_at as first_at,
           case when f.bucket_at is null then
                (select min(h.bucket_at) from ledger.v_mark_history h
                  where h.book_id = i.book_id and h.instrument_id = i.instrument_id
                    and h.bucket_at > :open_at::timestamptz - interval '4 minutes') end as next_at
      from last i
      left join lateral (
           select h.bucket_at from ledger.v_mark_history h
            where h.book_id = i.book_id and h.instrument_id = i.instrument_id
              and h.bucket_at <= :open_at::timestamptz - interval '4 minutes'
            order by h.bucket_at desc limit 1) as f on true
     where i.bucket_at > :open_at::timestamptz - interval '4 minutes'
), walk as materialized (
    select i.place, i.currency, i.positions, true as is_first, '-infinity'::timestamptz as bucket_at, i.as_of, i.price,
           null::timestamptz as next_at, i.weight * i.price - i.basis as unrealized,
           case when i.price is null then i.positions else i.positions - i.known end as lacks
      from last i
     where i.bucket_at is null or i.bucket_at <= :open_at::timestamptz - interval '4 minutes'
    union all
    select i.place, i.currency, i.positions, true, '-infinity'::timestamptz, null, null, i.next_at, null, i.positions
      from moving i
     where i.first_at is null
    union all
    select i.place, i.currency, i.positions, m.is_first, case when m.is_first then '-infinity'::timestamptz else m.bucket_at end, m.as_of,
           m.price, m.next_at,
           case when m.price_before is null then i.weight * m.price - i.basis else i.weight * (m.price - m.price_before) end,
           case when m.price_before is not null then 0 when m.is_first then i.positions - i.known else -i.known end
      from moving i
     cross join lateral (
           (select h.bucket_at, h.bucket_at = i.first_at as is_first, h.price, h.marked_at as as_of, lag(h.price) over w as price_before,
                   lead(h.bucket_at) over w as next_at
              from ledger.v_mark_history h
             where not i.is_split and h.book_id = i.book_id and h.instrument_id = i.instrument_id
               and h.bucket_at >= coalesce(i.first_at, i.next_at) and h.bucket_at <= :valued_at::timestamptz - interval '5 minutes'
            window w as (order by h.bucket_at) offset 0)
           union all
           (select h.bucket_at, h.bucket_at = i.first_at, h.price, h.as_of, lag(h.price) over w, lead(h.bucket_at) over w
              from ledger.v_marks h
             where i.is_split and h.book_id = i.book_id and h.instrument_id = i.instrument_id
               and h.bucket_at >= coalesce(i.first_at, i.next_at) and h.bucket_at <= :valued_at::timestamptz - interval '5 minutes'
            window w as (order by h.bucket_at) offset 0)) as m
), marks as not materialized (
    select f.*,
           case when f.as_of < :open_at::timestamptz + (f.next_minute - 1) * interval '1 minute' - interval '15 minutes'
                then case when f.as_of < :open_at::timestamptz - interval '14 minutes' then f.minute
                          else greatest(f.minute, floor(extract(epoch from f.as_of - :open_at::timestamptz) / 60 + 15)::integer + 1) end
           end as stale_minute
      from (select w.*,
                   case when w.is_first then 1 else
                        (extract(epoch from w.bucket_at)::bigint - extract(epoch from :open_at::timestamptz)::bigint + 359) / 60 end as minute,
                   coalesce((extract(epoch from w.next_at)::bigint - extract(epoch from :open_at::timestamptz)::bigint + 359) / 60,
                            :minutes::bigint + 1) as next_minute
              from walk w) as f
), moves as (
    select p.position_id, p.book_id, m.quantity * m.units as quantity, m.basis, m.unknown,
           greatest(1, ceil(extract(epoch from m.happened_at - :open_at::timestamptz) / 60))::integer as minute
      from held p
     cross join lateral (
           (select l.opened_at as happened_at, l.quantity, coalesce(l.cost_basis, 0) as basis,
                   case when l.cost_basis is null then l.quantity else 0 end as unknown,
                   case when p.is_split then ledger.units_missed(l.book_id, p.instrument_id, l.opened_at, l.split_factor) else 1 end as units
              from ledger.v_lots l
             where l.book_id = p.book_id and l.position_id = p.position_id and l.opened_at <= :last_at::timestamptz
             order by l.opened_at offset 0)
           union all
           (select c.executed_at, -c.quantity, -coalesce(l.cost_basis * c.quantity / l.quantity, 0),
                   case when l.cost_basis is null then -c.quantity else 0 end,
                   case when p.is_split then ledger.units_missed(l.book_id, p.instrument_id, l.opened_at, l.split_factor) else 1 end
              from (select * from ledger.v_lots o where o.book_id = p.book_id and o.position_id = p.position_id offset 0) as l
             cross join lateral (
                   select v.executed_at, v.quantity from ledger.v_closings v
                    where v.book_id = l.book_id and v.lot_id = l.lot_id and v.executed_at <= :last_at::timestamptz offset 0) as c
            offset 0)) as m
     where not p.is_still
), stretches as (
    select x.*
      from (select m.book_id, m.position_id, m.minute as from_minute, lead(m.minute, 1, :minutes::integer + 1) over w as to_minute,
                   sum(m.quantity) over w as quantity, sum(m.basis) over w as basis, sum(m.unknown) over w as unknown
              from (select book_id, position_id, minute, sum(quantity) as quantity, sum(basis) as basis, sum(unknown) as unknown
                      from moves where minute <= :minutes::integer group by book_id, position_id, minute) as m
            window w as (partition by m.book_id, m.position_id order by m.minute)) as x
     where x.quantity > 0
), changed as materialized (
    select h.currency, h.sign, h.multiplier, h.closed_minute, i.place, s.from_minute, s.to_minute, s.quantity, s.basis, s.unknown
      from held h
      join instruments i on i.book_id = h.book_id and i.instrument_id = h.instrument_id and i.currency = h.currency
      join stretches s on s.book_id = h.book_id and s.position_id = h.position_id
), pieces as (
    select c.currency, greatest(c.from_minute, m.from_minute) as from_minute,
           least(c.to_minute, m.to_minute, coalesce(c.closed_minute, c.to_minute)) as to_minute, m.is_stale,
           case when c.unknown = 0 then c.sign * (c.multiplier * c.quantity * m.price - c.basis) end as unrealized
      from changed c
      join (select f.place, f.price, v.*
              from marks f
             cross join lateral (values
                   (f.minute, coalesce(f.stale_minute, f.next_minute), false), (f.stale_minute, f.next_minute, true)
                   ) as v(from_minute, to_minute, is_stale)
             where f.place = any (array(select place from changed)) and v.from_minute < v.to_minute) as m
        on m.place = c.place and m.from_minute < c.to_minute and m.to_minute > c.from_minute
), steps as (
    select g.currency,
           case when g.bucket_at = '-infinity' then 1 else
                (extract(epoch from g.bucket_at)::bigint - extract(epoch from :open_at::timestamptz)::bigint + 359) / 60 end as minute,
           coalesce(g.positions, 0) as positions, coalesce(g.unrealized, 0) as unrealized,
           coalesce(g.lacks, 0) as lacks, 0::bigint as stale, 0 as realized, 0 as unknown
      from (select w.currency, w.bucket_at, sum(w.positions) filter (where w.is_first) as positions, sum(w.unrealized) as unrealized,
                   sum(w.lacks) filter (where w.lacks <> 0) as lacks
              from walk w where w.positions > 0
             group by w.currency, w.bucket_at) as g
    union all
    select f.currency, e.minute, 0, 0, 0, e.way * f.positions, 0, 0
      from (select m.currency, m.stale_minute, m.next_minute, sum(m.positions) as positions
              from marks m
             where m.positions > 0 and coalesce(m.next_at, 'infinity') > m.bucket_at + interval '10 minutes'
               and m.stale_minute < m.next_minute
             group by m.currency, m.stale_minute, m.next_minute) as f
     cross join lateral (values (f.stale_minute, 1), (f.next_minute, -1)) as e(minute, way)
    union all
    select p.currency, e.minute, e.way, e.way * coalesce(p.unrealized, 0), case when p.unrealized is null then e.way else 0 end,
           case when p.is_stale then e.way else 0 end, 0, 0
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
