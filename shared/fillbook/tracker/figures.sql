-- Statements about results: sums over the actions of a range, by currency, group and New York date. Views of the ledger alone.
-- A span is (book, since, until); what is asked is read as of T and as known at K, both infinity for now.

-- name: results, planned once
-- Sums over the actions of some spans. ``gains`` and ``losses`` are sums over closings; ``result`` is a closed position's own.
with acts as (
    select s.book_id, a.*
      from unnest(:books::text[], :sinces::timestamptz[], :untils::timestamptz[]) as s(book_id, since, until)
     cross join lateral (
           (select x.action_id, x.version, x.position_id, x.ticker, x.direction, x.currency, x.executed_at, x.action_type::text as kind,
                   x.realized_pnl, x.fees, x.reason, x.position_realized_pnl_after as result
              from ledger.v_action_history x
             where x.book_id = s.book_id and x.state = 'BOOKED' and x.known_to is null and x.known_from <= :known_as_of::timestamptz
               and x.executed_at <= :as_of::timestamptz and x.executed_at >= s.since and x.executed_at < s.until
             order by x.executed_at desc offset 0)
           union all
           (select x.action_id, x.version, x.position_id, x.ticker, x.direction, x.currency, x.executed_at, x.action_type::text as kind,
                   x.realized_pnl, x.fees, x.reason, x.position_realized_pnl_after as result
              from ledger.v_action_history x
             where x.book_id = s.book_id and x.state = 'BOOKED' and x.known_to > :known_as_of::timestamptz and x.known_from <= :known_as_of::timestamptz
               and x.executed_at <= :as_of::timestamptz and x.executed_at >= s.since and x.executed_at < s.until
             order by x.executed_at desc offset 0)) as a
), cells as (
    select a.currency,
           case when :by::text in ('day', 'weekday') then (a.executed_at at time zone 'America/New_York')::date end as day,
           case :by::text when 'ticker' then a.ticker when 'direction' then a.direction::text when 'book' then a.book_id
                          when 'reason' then a.reason when 'trigger_reason' then e.meta->>'trigger_reason'
                          when 'score_band' then ledger.score_band(e.meta->>'rank') end as key,
           a.kind, a.realized_pnl, a.fees, c.gains, c.losses, c.unknown, a.result, a.executed_at - e.opened_at as held
      from acts a
      left join lateral (
           (select p.opened_at, null::jsonb as meta from ledger.v_positions p
             where not :is_past::boolean and :by::text not in ('trigger_reason', 'score_band') and a.kind = 'EXIT'
               and p.book_id = a.book_id and p.position_id = a.position_id)
           union all
           (select x.executed_at, x.meta
              from ledger.actions_as_of(a.book_id, :as_of::timestamptz, :known_as_of::timestamptz) as x
             where (:is_past::boolean or :by::text in ('trigger_reason', 'score_band'))
               and (a.kind = 'EXIT' or :by::text in ('trigger_reason', 'score_band'))
               and x.position_id = a.position_id and x.action_type = 'ENTRY'
             limit 1)) as e on true
      left join lateral (
           select sum(v.realized_pnl) filter (where v.realized_pnl > 0) as gains,
                  sum(v.realized_pnl) filter (where v.realized_pnl < 0) as losses,
                  count(*) filter (where v.realized_pnl is null) as unknown
             from ledger.v_closing_history v
            where v.book_id = a.book_id and v.action_id = a.action_id and v.version = a.version
              and a.kind in ('TRIM', 'EXIT')) as c on true
)
select currency, day, key, count(*) filter (where kind = 'ENTRY') as entries, count(*) filter (where kind = 'ADD_ENTRY') as adds,
       count(*) filter (where kind = 'TRIM') as trims, count(*) filter (where kind = 'EXIT') as exits,
       coalesce(sum(realized_pnl), 0) as realized,
       count(*) filter (where kind in ('TRIM', 'EXIT') and realized_pnl is null) as unknown_realized,
       coalesce(sum(fees), 0) as fees, count(*) filter (where fees is null) as unknown_fees,
       coalesce(sum(gains), 0) as gains, coalesce(sum(losses), 0) as losses, coalesce(sum(unknown), 0)::bigint as unknown_parts,
       count(*) filter (where kind = 'EXIT' and result > 0) as wins, count(*) filter (where kind = 'EXIT' and result < 0) as defeats,
       count(*) filter (where kind = 'EXIT' and result = 0) as flats,
       count(*) filter (where kind = 'EXIT' and result is null) as pending,
       coalesce(sum(result) filter (where kind = 'EXIT' and result > 0), 0) as won,
       coalesce(sum(result) filter (where kind = 'EXIT' and result < 0), 0) as lost,
       max(result) filter (where kind = 'EXIT') as best, min(result) filter (where kind = 'EXIT') as worst,
       coalesce(sum(extract(epoch from held)) filter (where kind = 'EXIT'), 0) as held_seconds
  from cells
 group by currency, day, key;

-- name: active, planned once
-- How many positions acted on each New York date, by group: a position counts on every date on which it acted.
select d.currency, case when :by::text in ('day', 'weekday') then d.day end as day, d.key, count(*) as trades
  from (select distinct x.currency, (x.executed_at at time zone 'America/New_York')::date as day,
               case :by::text when 'reason' then x.reason end as key, x.book_id, x.position_id
          from unnest(:books::text[], :sinces::timestamptz[], :untils::timestamptz[]) as s(book_id, since, until)
         cross join lateral (
               (select x.currency, x.executed_at, x.reason, x.book_id, x.position_id
                  from ledger.v_action_history x
                 where x.book_id = s.book_id and x.state = 'BOOKED' and x.known_to is null and x.known_from <= :known_as_of::timestamptz
                   and x.executed_at <= :as_of::timestamptz and x.executed_at >= s.since and x.executed_at < s.until
                 order by x.executed_at desc offset 0)
               union all
               (select x.currency, x.executed_at, x.reason, x.book_id, x.position_id
                  from ledger.v_action_history x
                 where x.book_id = s.book_id and x.state = 'BOOKED' and x.known_to > :known_as_of::timestamptz and x.known_from <= :known_as_of::timestamptz
                   and x.executed_at <= :as_of::timestamptz and x.executed_at >= s.since and x.executed_at < s.until
                 order by x.executed_at desc offset 0)) as x) as d
 group by 1, 2, 3;

-- name: carried, planned once
-- Positions opened before a range that acted in it, by group, as the ledger holds them now.
select p.currency, k.key, count(*) as trades
  from unnest(:books::text[]) as s(book_id)
 cross join lateral (
       (select o.* from ledger.v_positions o
         where o.book_id = s.book_id and o.status = 'OPEN' and o.opened_at < :since::timestamptz offset 0)
       union all
       (select o.* from ledger.v_positions o
         where o.book_id = s.book_id and o.status = 'CLOSED' and o.closed_at >= :since::timestamptz
           and o.opened_at < :since::timestamptz offset 0)) as p
  left join ledger.v_actions e
    on e.book_id = p.book_id and e.action_id = p.first_action_id and :by::text in ('trigger_reason', 'score_band')
 cross join lateral (
       select case :by::text when 'ticker' then p.symbol when 'direction' then p.direction::text when 'book' then p.book_id
                             when 'trigger_reason' then e.meta->>'trigger_reason'
                             when 'score_band' then ledger.score_band(e.meta->>'rank') end as key) as k
 where exists (select from ledger.v_actions a
                where a.book_id = p.book_id and a.position_id = p.position_id
                  and a.executed_at >= :since::timestamptz and a.executed_at < :until::timestamptz offset 0)
 group by p.currency, k.key;

-- name: carried_then
-- The same as of T, known as of K.
select p.currency, k.key, count(*) as trades
  from unnest(:books::text[]) as b(book_id)
 cross join lateral (select b.book_id, :since::timestamptz as since, :until::timestamptz as until) as s
 cross join lateral (
       select distinct a.book_id, a.position_id
         from (
               (select x.book_id, x.position_id
                  from ledger.v_action_history x
                 where x.book_id = s.book_id and x.state = 'BOOKED' and x.known_to is null and x.known_from <= :known_as_of::timestamptz
                   and x.executed_at <= :as_of::timestamptz and x.executed_at >= s.since and x.executed_at < s.until
                 order by x.executed_at desc offset 0)
               union all
               (select x.book_id, x.position_id
                  from ledger.v_action_history x
                 where x.book_id = s.book_id and x.state = 'BOOKED' and x.known_to > :known_as_of::timestamptz and x.known_from <= :known_as_of::timestamptz
                   and x.executed_at <= :as_of::timestamptz and x.executed_at >= s.since and x.executed_at < s.until
                 order by x.executed_at desc offset 0)) as a) as q
 cross join lateral (
       select e.book_id, e.currency, e.ticker, e.direction, e.meta
         from ledger.actions_as_of(q.book_id, :as_of::timestamptz, :known_as_of::timestamptz) as e
        where e.position_id = q.position_id and e.action_type = 'ENTRY' and e.executed_at < :since::timestamptz limit 1) as p
 cross join lateral (
       select case :by::text when 'ticker' then p.ticker when 'direction' then p.direction::text when 'book' then p.book_id
                             when 'trigger_reason' then p.meta->>'trigger_reason'
                             when 'score_band' then ledger.score_band(p.meta->>'rank') end as key) as k
 group by p.currency, k.key;

-- name: open_at, planned once
-- How many positions of each currency were open at an instant, as the ledger holds them now.
select p.currency, count(*) as positions
  from unnest(:books::text[]) as s(book_id)
 cross join lateral (
       (select o.currency from ledger.v_positions o
         where o.book_id = s.book_id and o.status = 'OPEN' and o.opened_at < :at::timestamptz offset 0)
       union all
       (select o.currency from ledger.v_positions o
         where o.book_id = s.book_id and o.status = 'CLOSED' and o.closed_at >= :at::timestamptz
           and o.opened_at < :at::timestamptz offset 0)) as p
 group by p.currency;

-- name: open_at_then
-- The same as known at K.
select x.currency, count(*) filter (where x.action_type = 'ENTRY') - count(*) filter (where x.action_type = 'EXIT') as positions
  from unnest(:books::text[]) as s(book_id)
 cross join lateral (
       select a.currency, a.action_type
         from ledger.actions_as_of(s.book_id, :as_of::timestamptz, :known_as_of::timestamptz) as a
        where a.executed_at < :at::timestamptz and a.action_type in ('ENTRY', 'EXIT')) as x
 group by x.currency;

-- name: base_currencies, planned once
-- The currencies in which some books count.
select distinct base_currency as currency from ledger.v_books where book_id = any(:books::text[]) order by 1;

-- name: touched, planned once
-- The books whose kept sums count: the New York dates that rows after their watermark touch, the first and the last kept one, and
-- whether what their days were worth counts as well.
select b.book_id, array(select d from ledger.days_since(b.book_id, b.seq) as d) as days, b.has_worth, k.first_day, k.last_day
  from ledger.v_result_books b
 cross join lateral (
       select min(r.day) as first_day, max(r.day) as last_day
         from ledger.v_result_days r where r.book_id = b.book_id and r.dimension = 'none') as k
 where b.book_id = any(:books::text[]);

-- name: kept, planned once
-- Kept sums of spans of dates and of months, by currency and group, of days and weekdays by date, with how many positions acted.
select r.currency, case when :by::text in ('day', 'weekday') then r.day end as day,
       case when :by::text = 'book' then r.book_id when :dimension::text <> 'none' then r.key end as key,
       sum(r.entries)::bigint as entries, sum(r.adds)::bigint as adds, sum(r.trims)::bigint as trims, sum(r.exits)::bigint as exits,
       sum(r.realized) as realized, sum(r.unknown_realized)::bigint as unknown_realized, sum(r.fees) as fees,
       sum(r.unknown_fees)::bigint as unknown_fees, sum(r.gains) as gains, sum(r.losses) as losses,
       sum(r.unknown_parts)::bigint as unknown_parts, sum(r.wins)::bigint as wins, sum(r.defeats)::bigint as defeats,
       sum(r.flats)::bigint as flats, sum(r.pending)::bigint as pending, sum(r.won) as won, sum(r.lost) as lost, max(r.best) as best,
       min(r.worst) as worst, sum(r.held_seconds) as held_seconds, sum(r.trades)::bigint as trades
  from (select d.*
          from unnest(:day_books::text[], :firsts::date[], :lasts::date[]) as s(book_id, first, last)
         cross join lateral (
               select * from ledger.v_result_days x
                where x.book_id = s.book_id and x.dimension = :dimension::text and x.day >= s.first and x.day <= s.last offset 0) as d
        union all
        select m.*
          from unnest(:month_books::text[], :months::date[]) as s(book_id, month)
         cross join lateral (
               select * from ledger.v_result_months x
                where x.book_id = s.book_id and x.dimension = :dimension::text and x.day = s.month offset 0) as m) as r
 group by 1, 2, 3;

-- name: executed, planned once
-- How many executions some spans have and what they realized, as the ledger stands now, by currency, date or ticker.
select a.currency, case when :by::text = 'day' then (a.executed_at at time zone 'America/New_York')::date end as day,
       case when :by::text = 'ticker' then a.ticker end as key, count(*) as count, coalesce(sum(a.realized_pnl), 0) as realized,
       count(*) filter (where a.action_type in ('TRIM', 'EXIT') and a.realized_pnl is null) as unknown_realized
  from unnest(:books::text[], :sinces::timestamptz[], :untils::timestamptz[]) as s(book_id, since, until)
 cross join lateral (
       select x.currency, x.executed_at, x.ticker, x.action_type, x.realized_pnl from ledger.v_actions x
        where x.book_id = s.book_id and x.executed_at >= s.since and x.executed_at < s.until
        order by x.executed_at desc offset 0) as a
 group by 1, 2, 3;

-- name: executed_kept, planned once
-- The same of kept sums of spans of dates and of months.
select r.currency, case when :by::text = 'day' then r.day end as day, case when :by::text = 'ticker' then r.key end as key,
       sum(r.entries + r.adds + r.trims + r.exits)::bigint as count, sum(r.realized) as realized,
       sum(r.unknown_realized)::bigint as unknown_realized
  from (select d.*
          from unnest(:day_books::text[], :firsts::date[], :lasts::date[]) as s(book_id, first, last)
         cross join lateral (
               select * from ledger.v_result_days x
                where x.book_id = s.book_id and x.dimension = :dimension::text and x.day >= s.first and x.day <= s.last offset 0) as d
        union all
        select m.*
          from unnest(:month_books::text[], :months::date[]) as s(book_id, month)
         cross join lateral (
               select * from ledger.v_result_months x
                where x.book_id = s.book_id and x.dimension = :dimension::text and x.day = s.month offset 0) as m) as r
 group by 1, 2, 3;
