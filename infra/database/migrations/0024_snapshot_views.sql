-- Room snapshot, the figures: what a trading day comes to, computed here from the ledger's views and nowhere else.
--
-- Views have no clock. The work list (metrics.snapshot_days) says which days there are figures for and carries every calendar fact
-- and "now" of each; so the cost of a refresh follows the days in it. What is older than a day's beginning enters as sums that are
-- carried along (metrics.settled_*), a handful of new actions at a time. A refresh has three layers: what is carried, six
-- inner views of the days' rows (metrics.day_*), and the six that are read (utils_statistics).

create schema metrics;
create schema utils_statistics;
comment on schema metrics is 'Trading days as published numbers: work list, catalog of KPIs, what is carried from older days.';
comment on schema utils_statistics is 'The materialized views that are published, and their refresh.';

-- who publishes reads the views and keeps the work list; who receives has other rights
do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'snapshot_source') then
        create role snapshot_source nologin;
    end if;
exception when duplicate_object or unique_violation then
    null;
end
$$;

-- ---- what ledger gives ----

-- A bucket's marks follow each other as the buckets do: the last one before an instant is found by the key.
create or replace view ledger.v_marks as
    select m.book_id, b.tenant_id, m.instrument as instrument_id, m.marked_at as as_of, m.recorded_at,
           case when s.scale is null then m.price else round(m.price * s.scale, 10) end as price,
           case when s.scale is null then m.bid else round(m.bid * s.scale, 10) end as bid,
           case when s.scale is null then m.ask else round(m.ask * s.scale, 10) end as ask,
           m.source, m.bucket_at
      from ledger.marks m
      join ledger.books b using (book_id)
      left join lateral (
          select exp(sum(ln(j.ratio_den::numeric(40,20) / j.ratio_num))) as scale
            from (select distinct on (adjustment_id) * from ledger.adjustments
                   where book_id = m.book_id and instrument = m.instrument
                   order by adjustment_id, version desc) as j
           where not j.is_void and j.effective_at > m.marked_at) as s on true;

create view ledger.v_action_seals as
    select book_id, seq, row_hash from ledger.execution_actions;
comment on view ledger.v_action_seals is 'Where each row of history stands in its book''s chain: an equal seal says that all before it is the same.';
grant select on ledger.v_action_seals to ledger_reader, snapshot_reader;

-- ---- tables ----

create table metrics.snapshot_books (
    book_id text not null,
    constraint snapshot_books_pk primary key (book_id),
    constraint snapshot_books_no_replay check (book_id not like 'replay:%')
);
comment on table metrics.snapshot_books is 'The books whose figures are published, together.';
insert into metrics.snapshot_books (book_id) values ('live');

create table metrics.snapshot_days (
    report_date    date        not null,
    window_start   timestamptz not null,
    window_end     timestamptz not null,
    session_open   timestamptz not null,
    session_close  timestamptz not null,
    as_of          timestamptz not null,
    valuation_at   timestamptz not null,
    previous_date  date        not null,
    previous_close timestamptz not null,
    run_id         text,
    added_at       timestamptz not null default clock_timestamp(),
    constraint snapshot_days_pk primary key (report_date),
    constraint snapshot_days_order check (
        previous_date < report_date and previous_close <= window_start and window_start < session_open
        and session_open < session_close and session_close <= window_end and window_start <= as_of and as_of <= window_end
        and valuation_at = least(as_of, session_close))
);
comment on table metrics.snapshot_days is 'The work list: the days the views hold rows for, with every calendar fact and "now" they need.';
comment on column metrics.snapshot_days.run_id is 'The backfill that added the day; null for the current day and the last five sessions.';
comment on column metrics.snapshot_days.added_at is 'Real time: the days of a backfill that died go after a quarter of an hour.';

create table metrics.equity_days (
    report_date    date    not null,
    equity         numeric not null,
    daily_return   numeric,
    content_sha256 text    not null,
    constraint equity_days_pk primary key (report_date)
);
comment on table metrics.equity_days is 'Equity (currency) and daily return (percent points) of each day as it was last published at stage final.';

create table metrics.kpi_catalog (
    kpi_name     text     not null,
    sort_order   integer  not null,
    kpi_version  integer  not null default 1,
    kind         text     not null,
    unit         text,
    digits       smallint not null,
    has_series   boolean  not null,
    has_extremes boolean  not null,
    constraint kpi_catalog_pk primary key (kpi_name),
    constraint kpi_catalog_order unique (sort_order),
    constraint kpi_catalog_kind check (kind in ('number', 'currency', 'percent', 'duration', 'ratio'))
);
comment on table metrics.kpi_catalog is 'The KPIs of a day: all of them have a row every day, with a number or with the reason why there is none.';
comment on column metrics.kpi_catalog.digits is 'Decimals of the number, rounded half to even.';
insert into metrics.kpi_catalog (sort_order, kpi_name, kind, unit, digits, has_series, has_extremes) values
    (10, 'Daily PnL', 'currency', 'USD', 2, true, true),
    (20, 'Realized PnL', 'currency', 'USD', 2, true, true),
    (30, 'Unrealized PnL', 'currency', 'USD', 2, true, true),
    (40, 'Total PnL', 'currency', 'USD', 2, true, true),
    (50, 'Equity', 'currency', 'USD', 2, true, false),
    (60, 'Daily return', 'percent', '%', 4, true, true),
    (70, 'Win rate', 'percent', '%', 4, true, false),
    (80, 'Profit factor', 'ratio', null, 4, true, false),
    (90, 'Expectancy', 'currency', 'USD', 2, false, false),
    (100, 'Avg win', 'currency', 'USD', 2, false, true),
    (110, 'Avg loss', 'currency', 'USD', 2, false, true),
    (120, 'Entries opened', 'number', null, 0, false, false),
    (130, 'Add entries', 'number', null, 0, false, false),
    (140, 'Trims taken', 'number', null, 0, false, false),
    (150, 'Exits closed', 'number', null, 0, false, false),
    (160, 'Open positions', 'number', null, 0, true, false),
    (170, 'Gross exposure', 'currency', 'USD', 2, true, true),
    (180, 'Net exposure', 'currency', 'USD', 2, true, true),
    (190, 'Traded value', 'currency', 'USD', 2, true, true),
    (200, 'Fees paid', 'currency', 'USD', 2, true, true),
    (210, 'Avg hold time', 'duration', 's', 0, false, true),
    (220, 'Max drawdown', 'percent', '%', 4, true, false),
    (230, 'Sharpe ratio', 'ratio', null, 4, false, false),
    (240, 'Liquidity drag', 'currency', 'USD', 2, true, true),
    (250, 'Oldest mark age', 'duration', 's', 0, false, false);

-- ---- words ----

-- Half to even. Quotients have 18 decimals and more, so a half that they miss by their own rounding is taken as one.
create function metrics.round_even(value numeric, digits integer) returns numeric
language sql immutable strict parallel safe
return case
    when abs(round(value, 16) - trunc(round(value, 16), digits)) * 10::numeric ^ (digits + 1) = 5
         and mod(trunc(round(value, 16), digits) * 10::numeric ^ digits, 2) = 0
    then trunc(round(value, 16), digits)
    else round(round(value, 16), digits) end;

-- The display text of a rounded number: $1,234.56 · -$5.00 · 72.3% · 1.85 · 1,234 · 1h 03m · 4m 05s · 12s · — where there is none.
create function metrics.kpi_text(value numeric, kind text) returns text
language sql immutable parallel safe
return case
    when value is null then '—'
    when kind = 'currency' then
        case when value < 0 then '-$' else '$' end || to_char(abs(value), 'FM999,999,999,999,990.00')
    when kind = 'percent' then to_char(metrics.round_even(value, 1), 'FM999,999,999,999,990.0') || '%'
    when kind = 'ratio' then to_char(metrics.round_even(value, 2), 'FM999,999,999,999,990.00')
    when kind = 'duration' and value >= 3600 then
        div(value, 3600)::text || 'h ' || lpad(div(mod(value, 3600), 60)::text, 2, '0') || 'm'
    when kind = 'duration' and value >= 60 then div(value, 60)::text || 'm ' || lpad(mod(value, 60)::bigint::text, 2, '0') || 's'
    when kind = 'duration' then value::bigint::text || 's'
    else to_char(value, 'FM999,999,999,999,990') end;

-- The last 13 hex digits of a position's id as an integer: 52 bits, which every reader of JSON holds exactly.
create function metrics.trade_id(position_id uuid) returns bigint
language sql immutable strict parallel safe
return ('x' || right(replace(position_id::text, '-', ''), 13))::bit(52)::bigint;

-- The number of the minute end, counted from the open, at which something of this instant can be seen first; at least 1.
create function metrics.minute_of(happened timestamptz, session_open timestamptz) returns integer
language sql immutable strict parallel safe
return greatest(1, ceil(extract(epoch from happened - session_open) / 60))::integer;

-- ---- what is carried: positions that were closed before ----

create table metrics.settled_books (
    book_id  text   not null,
    seq      bigint not null,
    row_hash bytea  not null,
    constraint settled_books_pk primary key (book_id)
);
comment on table metrics.settled_books is 'How far each book''s history is carried, by the seal of its last row: another seal there and all is counted anew.';

create table metrics.settled_trades (
    book_id       text        not null,
    position_id   uuid        not null,
    trade_id      bigint      not null,
    symbol        text collate "C" not null,
    contract_name text collate "C" not null,
    realized_pnl  numeric,
    closed_at     timestamptz not null,
    constraint settled_trades_pk primary key (book_id, position_id)
);
comment on table metrics.settled_trades is 'Closed positions in their book''s currency, in the orders in which the best, the worst and the latest are found.';
create index settled_trades_best on metrics.settled_trades (book_id, realized_pnl desc, symbol, contract_name, trade_id)
    where realized_pnl is not null;
create index settled_trades_worst on metrics.settled_trades (book_id, realized_pnl, symbol, contract_name, trade_id)
    where realized_pnl is not null;
create index settled_trades_by_closed on metrics.settled_trades (book_id, closed_at);

create table metrics.settled_days (
    book_id  text    not null,
    day      date    not null,
    trades   bigint  not null,
    unknown  bigint  not null,
    realized numeric not null,
    constraint settled_days_pk primary key (book_id, day)
);
comment on table metrics.settled_days is 'Sums of settled_trades by the UTC date of their closing; unknown: how many realized nobody knows what.';

create view metrics.counted_books as
    select b.book_id, b.base_currency, b.start_cash, b.seq, b.base_currency = 'USD' as is_counted
      from metrics.snapshot_books s join ledger.v_books b on b.book_id = s.book_id;

-- Take some positions of a book out of what is settled and put in those that are closed now.
create function metrics.settle(book text, currency_of_book text, touched uuid[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    with gone as (
        delete from metrics.settled_trades t where t.book_id = book and t.position_id = any(touched)
        returning (t.closed_at at time zone 'UTC')::date as day, t.realized_pnl
    ), sums as (
        select day, count(*) as trades, count(*) filter (where realized_pnl is null) as unknown,
               coalesce(sum(realized_pnl), 0) as realized
          from gone group by day)
    update metrics.settled_days d
       set trades = d.trades - s.trades, unknown = d.unknown - s.unknown, realized = d.realized - s.realized
      from sums s where d.book_id = book and d.day = s.day;

    with come as (
        insert into metrics.settled_trades (book_id, position_id, trade_id, symbol, contract_name, realized_pnl, closed_at)
        select p.book_id, p.position_id, metrics.trade_id(p.position_id), p.symbol, p.contract_name, p.realized_pnl, p.closed_at
          from unnest(touched) as one
         cross join lateral (select * from ledger.v_positions p where p.book_id = book and p.position_id = one offset 0) as p
         where p.closed_at is not null and p.currency = currency_of_book
        returning (closed_at at time zone 'UTC')::date as day, realized_pnl)
    insert into metrics.settled_days as d (book_id, day, trades, unknown, realized)
    select book, day, count(*), count(*) filter (where realized_pnl is null), coalesce(sum(realized_pnl), 0)
      from come group by day
    on conflict on constraint settled_days_pk do update
       set trades = d.trades + excluded.trades, unknown = d.unknown + excluded.unknown, realized = d.realized + excluded.realized;
end
$$;

-- Carry every book on to the end of its history: positions that a new row touches, also those its former version stood on.
create function metrics.carry() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    one     record;
    newest  record;
    carried bigint;
    touched uuid[];
begin
    for one in select b.book_id, b.base_currency from metrics.counted_books b where b.is_counted loop
        select s.seq, s.row_hash into newest
          from ledger.v_action_seals s where s.book_id = one.book_id order by s.seq desc limit 1;
        select k.seq into carried
          from metrics.settled_books k
          join ledger.v_action_seals s on s.book_id = k.book_id and s.seq = k.seq and s.row_hash = k.row_hash
         where k.book_id = one.book_id;
        continue when carried = newest.seq;
        if carried is null then
            delete from metrics.settled_books k where k.book_id = one.book_id;
            delete from metrics.settled_trades t where t.book_id = one.book_id;
            delete from metrics.settled_days d where d.book_id = one.book_id;
            touched := array(select p.position_id from ledger.v_positions p
                              where p.book_id = one.book_id and p.status = 'CLOSED');
        else
            touched := array(
                select distinct unnest(array[a.position_id, old.position_id])
                  from ledger.v_action_history a
                  left join lateral (
                      select o.position_id from ledger.v_action_history o
                       where o.book_id = a.book_id and o.action_id = a.action_id and o.version = a.version - 1 offset 0) as old on true
                 where a.book_id = one.book_id and a.seq > carried);
        end if;
        perform metrics.settle(one.book_id, one.base_currency, touched);
        if newest.seq is not null then
            insert into metrics.settled_books (book_id, seq, row_hash) values (one.book_id, newest.seq, newest.row_hash)
            on conflict on constraint settled_books_pk do update set seq = excluded.seq, row_hash = excluded.row_hash;
        end if;
    end loop;
end
$$;

-- ---- inner views: the rows of the days ----

-- last_at: the last instant that counts, for the window's end belongs to the next day. minutes: points a series may have by now.
create view metrics.work_days as
    select d.report_date, d.window_start, d.session_open, d.session_close, d.as_of, d.valuation_at, d.previous_close,
           least(d.as_of, d.window_end - interval '1 microsecond') as last_at,
           greatest(0, floor(extract(epoch from d.valuation_at - d.session_open) / 60))::integer as minutes,
           case when d.as_of >= d.session_close then 'final' when d.as_of >= d.session_open then 'intraday'
                else 'premarket' end as stage
      from metrics.snapshot_days d;

-- Positions that were open at some moment between the previous close and as_of. Each half comes by its own index.
create materialized view metrics.day_positions as
    select d.report_date, b.book_id, p.position_id, metrics.trade_id(p.position_id) as trade_id, p.instrument_id, p.symbol,
           p.contract_name, case p.direction when 'LONG' then 1 else -1 end as sign, p.multiplier, p.opened_at,
           case when p.closed_at <= d.last_at then p.closed_at end as closed_at,
           case when p.closed_at <= d.last_at then metrics.minute_of(p.closed_at, d.session_open) end as closed_minute,
           b.is_counted and p.currency = b.base_currency as is_counted
      from metrics.work_days d
     cross join metrics.counted_books b
     cross join lateral (
           (select * from ledger.v_positions q
             where q.book_id = b.book_id and q.status = 'OPEN' and q.opened_at <= d.last_at
             order by q.instrument_id, q.direction offset 0)
           union all
           (select * from ledger.v_positions q
             where q.book_id = b.book_id and q.status = 'CLOSED' and q.closed_at > d.previous_close and q.opened_at <= d.last_at
             order by q.closed_at, q.opened_at offset 0)) as p;
comment on materialized view metrics.day_positions is 'Per day the positions that were open at some moment from the previous close on.';

-- Their lots and closings up to last_at, as signed moves: sums of them up to an instant are what was held then. stretch: 0 up to
-- the previous close, 1 before the window, 2 within it. of_unknown: quantity whose cost nobody knows.
create materialized view metrics.day_moves as
    select p.report_date, p.book_id, p.position_id, m.happened_at, metrics.minute_of(m.happened_at, d.session_open) as minute,
           case when m.happened_at <= d.previous_close then 0 when m.happened_at < d.window_start then 1 else 2 end as stretch,
           m.is_opening, m.quantity, coalesce(m.basis, 0) as basis, case when m.basis is null then m.quantity else 0 end as of_unknown,
           m.quantity * m.price as notional, m.realized_pnl
      from metrics.day_positions p
      join metrics.work_days d on d.report_date = p.report_date
     cross join lateral (
           (select true as is_opening, l.opened_at as happened_at, l.quantity, l.cost_basis as basis, l.price,
                   null::numeric as realized_pnl
              from ledger.v_lots l
             where l.book_id = p.book_id and l.position_id = p.position_id and l.opened_at <= d.last_at
             order by l.opened_at offset 0)
           union all
           (select false, c.executed_at, -c.quantity, -(l.cost_basis * c.quantity / l.quantity), l.price, c.realized_pnl
              from (select * from ledger.v_closings c
                     where c.book_id = p.book_id and c.position_id = p.position_id and c.executed_at <= d.last_at
                     order by c.executed_at offset 0) as c
             cross join lateral (select * from ledger.v_lots l where l.book_id = p.book_id and l.lot_id = c.lot_id offset 0) as l
            offset 0)) as m
     where p.is_counted;
comment on materialized view metrics.day_moves is 'Openings and closings of the days'' positions as signed moves of quantity, basis and notional.';

-- The actions of each window.
create materialized view metrics.day_actions as
    select d.report_date, a.book_id, a.position_id, a.action_type, a.executed_at, a.recorded_at,
           metrics.minute_of(a.executed_at, d.session_open) as minute, abs(a.value) as value, a.fees,
           b.is_counted and a.currency = b.base_currency as is_counted
      from metrics.work_days d
     cross join metrics.counted_books b
     cross join lateral (
           select * from ledger.v_actions a
            where a.book_id = b.book_id and a.executed_at >= d.window_start and a.executed_at <= d.last_at
            order by a.executed_at desc, a.action_id offset 0) as a;
comment on materialized view metrics.day_actions is 'Per day the current actions of its window up to as_of.';

-- One row per position and day: what it held at last_at and at the previous close, what it realized, and its marks.
create materialized view metrics.day_trades as
    select p.report_date, p.book_id, p.position_id, p.trade_id, p.instrument_id, p.symbol, p.contract_name, p.sign, p.multiplier,
           p.opened_at, p.closed_at, p.closed_minute, p.closed_at is null as is_open,
           p.closed_at is not null and p.closed_at >= d.window_start as is_closed_today,
           case when p.closed_at is null then m.quantity else 0 end as quantity,
           case when p.closed_at is not null then 0 when m.of_unknown = 0 then m.basis end as basis,
           case when p.closed_at is null then m.notional / nullif(m.quantity, 0) end as vwap,
           coalesce(m.quantity_before, 0) as quantity_before,
           case when coalesce(m.unknown_before, 0) = 0 then coalesce(m.basis_before, 0) end as basis_before,
           case when m.unknown_added = 0 then m.basis_added end as basis_added,
           case when m.lacking = 0 then m.realized end as realized,
           case when m.lacking_before = 0 then m.realized_before end as realized_before,
           case when m.lacking_since = 0 then m.realized_since end as realized_since,
           case when m.lacking_today = 0 then m.realized_today end as realized_today,
           m.gains_today, m.losses_today, m.closings_today, m.lacking_today,
           k.price as mark, k.bid, k.ask, k.as_of as mark_at, k.recorded_at as mark_recorded_at,
           e.price as mark_before, e.recorded_at as mark_before_recorded_at
      from metrics.day_positions p
      join metrics.work_days d on d.report_date = p.report_date
      join (select report_date, book_id, position_id, sum(quantity) as quantity, sum(basis) as basis, sum(of_unknown) as of_unknown,
                   sum(notional) as notional,
                   sum(quantity) filter (where stretch = 0) as quantity_before, sum(basis) filter (where stretch = 0) as basis_before,
                   sum(of_unknown) filter (where stretch = 0) as unknown_before,
                   coalesce(sum(basis) filter (where stretch > 0 and is_opening), 0) as basis_added,
                   coalesce(sum(of_unknown) filter (where stretch > 0 and is_opening), 0) as unknown_added,
                   coalesce(sum(realized_pnl), 0) as realized,
                   count(*) filter (where not is_opening and realized_pnl is null) as lacking,
                   coalesce(sum(realized_pnl) filter (where stretch = 0), 0) as realized_before,
                   count(*) filter (where not is_opening and realized_pnl is null and stretch = 0) as lacking_before,
                   coalesce(sum(realized_pnl) filter (where stretch > 0), 0) as realized_since,
                   count(*) filter (where not is_opening and realized_pnl is null and stretch > 0) as lacking_since,
                   coalesce(sum(realized_pnl) filter (where stretch = 2), 0) as realized_today,
                   count(*) filter (where not is_opening and realized_pnl is null and stretch = 2) as lacking_today,
                   coalesce(sum(realized_pnl) filter (where stretch = 2 and realized_pnl > 0), 0) as gains_today,
                   coalesce(sum(realized_pnl) filter (where stretch = 2 and realized_pnl < 0), 0) as losses_today,
                   count(*) filter (where not is_opening and stretch = 2) as closings_today
              from metrics.day_moves group by report_date, book_id, position_id) as m
        on m.report_date = p.report_date and m.book_id = p.book_id and m.position_id = p.position_id
      left join lateral (
           select v.price, v.bid, v.ask, v.as_of, v.recorded_at from ledger.v_marks v
            where v.book_id = p.book_id and v.instrument_id = p.instrument_id and v.bucket_at < d.valuation_at
              and v.as_of < d.valuation_at
            order by v.bucket_at desc limit 1) as k on p.closed_at is null
      left join lateral (
           select v.price, v.recorded_at from ledger.v_marks v
            where v.book_id = p.book_id and v.instrument_id = p.instrument_id and v.bucket_at < d.previous_close
              and v.as_of < d.previous_close
            order by v.bucket_at desc limit 1) as e on p.opened_at <= d.previous_close
     where p.is_counted;
comment on materialized view metrics.day_trades is 'One row per position and day: what it held, what it realized, how it was marked.';

-- Stretches of minutes in which a position's quantity and basis stay. A closed position ends there, whatever a split's rounding left.
create materialized view metrics.day_holdings as
    select x.report_date, x.book_id, x.position_id, x.instrument_id, x.sign, x.multiplier, x.from_minute, x.to_minute, x.quantity,
           x.basis, x.of_unknown
      from (select m.report_date, m.book_id, m.position_id, p.instrument_id, p.sign, p.multiplier, m.minute as from_minute,
                   lead(m.minute, 1, d.minutes + 1) over w as to_minute, sum(m.quantity) over w as quantity,
                   sum(m.basis) over w as basis, sum(m.of_unknown) over w as of_unknown, p.closed_minute
              from (select report_date, book_id, position_id, minute, sum(quantity) as quantity, sum(basis) as basis,
                           sum(of_unknown) as of_unknown
                      from metrics.day_moves group by report_date, book_id, position_id, minute) as m
              join metrics.work_days d on d.report_date = m.report_date and m.minute <= d.minutes
              join metrics.day_positions p
                on p.report_date = m.report_date and p.book_id = m.book_id and p.position_id = m.position_id
            window w as (partition by m.report_date, m.book_id, m.position_id order by m.minute)) as x
     where x.quantity > 0 and (x.closed_minute is null or x.from_minute < x.closed_minute);
comment on materialized view metrics.day_holdings is 'Per day and position the stretches of session minutes in which it did not change.';

-- Stretches of minutes for which one mark counts: from the end of its five-minute bucket until that of the next one, cut where it
-- gets older than fifteen minutes; the first stretch begins with the session, without a price where there was none yet. Marks of
-- instruments that were split are shown in today's units, which costs more; the others are read as they lie.
create materialized view metrics.day_marks as
    with instruments as materialized (
        select distinct p.report_date, p.book_id, p.instrument_id, d.session_open, d.valuation_at, d.minutes,
               exists (select from ledger.v_split_history j where j.book_id = p.book_id and j.instrument = p.instrument_id) as is_split
          from metrics.day_positions p
          join metrics.work_days d on d.report_date = p.report_date and d.minutes > 0
         where p.is_counted
    ), seen as (
        select i.report_date, i.book_id, i.instrument_id, i.session_open, i.minutes, 1 as minute, m.price, m.bid, m.ask, m.as_of
          from instruments i
          left join lateral (
               select v.price, v.bid, v.ask, v.as_of from ledger.v_marks v
                where v.book_id = i.book_id and v.instrument_id = i.instrument_id
                  and v.bucket_at <= i.session_open - interval '4 minutes'
                order by v.bucket_at desc limit 1) as m on true
        union all
        select i.report_date, i.book_id, i.instrument_id, i.session_open, i.minutes,
               metrics.minute_of(m.bucket_at + interval '5 minutes', i.session_open), m.price, m.bid, m.ask, m.as_of
          from instruments i
         cross join lateral (
               (select h.bucket_at, h.price, h.bid, h.ask, h.marked_at as as_of from ledger.v_mark_history h
                 where not i.is_split and h.book_id = i.book_id and h.instrument_id = i.instrument_id
                   and h.bucket_at > i.session_open - interval '4 minutes' and h.bucket_at <= i.valuation_at - interval '5 minutes'
                 order by h.bucket_at offset 0)
               union all
               (select v.bucket_at, v.price, v.bid, v.ask, v.as_of from ledger.v_marks v
                 where i.is_split and v.book_id = i.book_id and v.instrument_id = i.instrument_id
                   and v.bucket_at > i.session_open - interval '4 minutes' and v.bucket_at <= i.valuation_at - interval '5 minutes'
                 order by v.bucket_at offset 0)) as m
    ), follow as (
        select s.*, lead(minute, 1, minutes + 1) over (partition by report_date, book_id, instrument_id order by minute) as next_minute,
               floor(extract(epoch from as_of - session_open) / 60 + 15)::integer + 1 as stale_minute
          from seen s
    )
    select f.report_date, f.book_id, f.instrument_id, f.price, f.bid, f.ask, v.from_minute, v.to_minute, v.is_stale
      from follow f
     cross join lateral (values
           (f.minute, least(f.next_minute, f.stale_minute), false),
           (case when f.as_of is not null then greatest(f.minute, f.stale_minute) end, f.next_minute, true)
           ) as v(from_minute, to_minute, is_stale)
     where v.from_minute < v.to_minute;
comment on materialized view metrics.day_marks is 'Per day and instrument the stretches of session minutes for which one mark counts.';

-- The figures of each trade; NULL is what cannot be known. stake: what the day's result is measured by, its worth at the previous
-- close and the cost of what was opened since.
create view metrics.trade_figures as
    select t.*, t.realized + t.unrealized as individual_pnl, t.realized_since + t.unrealized - t.unrealized_before as daily_pnl
      from (select t.*, w.worth, w.mid,
                   case when t.is_open then t.sign * (w.worth - t.basis) else 0 end as unrealized,
                   case when t.quantity_before > 0 then t.sign * (w.worth_before - t.basis_before) else 0 end as unrealized_before,
                   case when t.quantity_before > 0 then abs(w.worth_before) else 0 end + t.basis_added as stake,
                   case when t.sign > 0 then w.mid - t.bid else t.ask - w.mid end * t.quantity * t.multiplier as drag
              from metrics.day_trades t
             cross join lateral (
                   select t.mark * t.quantity * t.multiplier as worth, (t.bid + t.ask) / 2 as mid,
                          t.mark_before * t.quantity_before * t.multiplier as worth_before) as w) as t;

-- Each KPI's quantity for one trade of the day, where it has one.
create view metrics.trade_metrics as
    select t.report_date, t.book_id, t.position_id, k.kpi_name, k.metric
      from metrics.trade_figures t
      left join (select report_date, book_id, position_id, count(value) as values_known, count(fees) as fees_known, count(*) as actions,
                        sum(value) as value, sum(fees) as fees
                   from metrics.day_actions group by report_date, book_id, position_id) as a
        on a.report_date = t.report_date and a.book_id = t.book_id and a.position_id = t.position_id
     cross join lateral (values
           ('Daily PnL', t.daily_pnl),
           ('Realized PnL', case when t.closings_today > 0 then t.realized_today end),
           ('Unrealized PnL', case when t.is_open then t.unrealized end),
           ('Total PnL', t.individual_pnl),
           ('Daily return', 100 * t.daily_pnl / nullif(t.stake, 0)),
           ('Avg win', case when t.is_closed_today and t.realized > 0 then t.realized end),
           ('Avg loss', case when t.is_closed_today and t.realized < 0 then t.realized end),
           ('Gross exposure', case when t.is_open then abs(t.worth) end),
           ('Net exposure', case when t.is_open then t.sign * t.worth end),
           ('Traded value', case when a.values_known = a.actions then a.value end),
           ('Fees paid', case when a.fees_known = a.actions then a.fees end),
           ('Avg hold time', case when t.is_closed_today then extract(epoch from t.closed_at - t.opened_at) end),
           ('Liquidity drag', case when t.is_open then t.drag end)) as k(kpi_name, metric)
     where k.metric is not null;

-- What each day's figures start from: start cash, and what was realized by positions that were closed by the previous close.
create view metrics.day_starts as
    select d.report_date, coalesce(sum(b.start_cash), 0) as start_cash, coalesce(sum(s.realized), 0) as realized,
           coalesce(sum(s.unknown), 0) as unknown
      from metrics.work_days d
      left join metrics.counted_books b on b.is_counted
      left join lateral (
           select sum(x.realized) as realized, sum(x.unknown) as unknown
             from (select s.realized, s.unknown from metrics.settled_days s
                    where s.book_id = b.book_id and s.day < (d.previous_close at time zone 'UTC')::date
                   union all
                   select coalesce(t.realized_pnl, 0), (t.realized_pnl is null)::integer from metrics.settled_trades t
                    where t.book_id = b.book_id and t.closed_at >= date_trunc('day', d.previous_close, 'UTC')
                      and t.closed_at <= d.previous_close) as x) as s on true
     group by d.report_date;

-- Sums over the day's trades and actions. lacks_<what>: how many parts of a sum nobody knows.
create view metrics.day_totals as
    select d.report_date, d.valuation_at, s.start_cash, t.*, a.*,
           s.realized + coalesce(t.realized_sum, 0) as realized_all, s.unknown + coalesce(t.lacks_realized, 0) as unknown_all,
           s.realized + coalesce(t.realized_before_sum, 0) as realized_until_close,
           s.unknown + coalesce(t.lacks_realized_before, 0) as unknown_until_close
      from metrics.work_days d
      join metrics.day_starts s on s.report_date = d.report_date
     cross join lateral (
           select count(*) filter (where is_open) as open_positions,
                  coalesce(sum(unrealized), 0) as unrealized,
                  count(*) filter (where is_open and mark is null) as lacks_mark,
                  count(*) filter (where is_open and mark is not null and unrealized is null) as lacks_cost,
                  count(*) filter (where is_open and multiplier is null) as lacks_size,
                  coalesce(sum(unrealized_before), 0) as unrealized_before,
                  count(*) filter (where quantity_before > 0 and mark_before is null) as lacks_mark_before,
                  count(*) filter (where mark_before is not null and unrealized_before is null) as lacks_cost_before,
                  sum(realized) as realized_sum, count(*) filter (where realized is null) as lacks_realized,
                  sum(realized_before) as realized_before_sum, count(*) filter (where realized_before is null) as lacks_realized_before,
                  coalesce(sum(realized_today), 0) as realized_today, coalesce(sum(lacking_today), 0) as lacks_realized_today,
                  coalesce(sum(gains_today), 0) as gains, coalesce(sum(losses_today), 0) as losses,
                  coalesce(sum(closings_today), 0)::bigint as closings,
                  coalesce(sum(abs(worth)), 0) as gross, coalesce(sum(sign * worth), 0) as net,
                  coalesce(sum(drag) filter (where is_open), 0) as drag,
                  count(*) filter (where is_open and multiplier is not null and drag is null) as lacks_quote,
                  min(mark_at) filter (where is_open) as oldest_mark_at,
                  count(*) filter (where is_closed_today) as closed,
                  count(*) filter (where is_closed_today and realized is null) as lacks_result,
                  count(*) filter (where is_closed_today and realized > 0) as wins,
                  count(*) filter (where is_closed_today and realized < 0) as defeats,
                  sum(realized) filter (where is_closed_today and realized > 0) as won,
                  sum(realized) filter (where is_closed_today and realized < 0) as lost,
                  sum(realized) filter (where is_closed_today) as result,
                  avg(extract(epoch from closed_at - opened_at)) filter (where is_closed_today) as hold_seconds
             from metrics.trade_figures f where f.report_date = d.report_date) as t
     cross join lateral (
           select count(*) as actions,
                  count(*) filter (where action_type = 'ENTRY') as entries, count(*) filter (where action_type = 'ADD_ENTRY') as adds,
                  count(*) filter (where action_type = 'TRIM') as trims, count(*) filter (where action_type = 'EXIT') as exits,
                  coalesce(sum(value), 0) as traded, count(*) filter (where value is null) as lacks_value,
                  coalesce(sum(fees), 0) as fees, count(*) filter (where fees is null) as lacks_fees
             from metrics.day_actions c where c.report_date = d.report_date and c.is_counted) as a;

-- ---- the six that are read ----

-- A point per minute end of the session. What is held and how it is marked changes seldom, so each stretch of minutes with one
-- quantity and one mark enters where it begins and leaves where it ends, and a minute is the sum of all that came before. A
-- mark is seen from the end of its five-minute bucket on; after fifteen minutes it is stale. A sum with an unknown part is no point.
create materialized view utils_statistics.trades_kpi_series_mv as
    with days as materialized (
        select w.report_date, w.session_open, w.minutes, s.start_cash,
               case when s.unknown_until_close = 0 then s.realized_until_close end as realized_before,
               case when s.lacks_mark_before + s.lacks_cost_before = 0 then s.unrealized_before end as unrealized_before
          from metrics.work_days w join metrics.day_totals s on s.report_date = w.report_date
         where w.minutes > 0
    ), pieces as (
        select h.report_date, greatest(h.from_minute, m.from_minute) as from_minute, least(h.to_minute, m.to_minute) as to_minute,
               h.sign, m.is_stale, w.worth, case when h.of_unknown = 0 then h.sign * (w.worth - h.basis) end as unrealized,
               (m.ask - m.bid) / 2 * w.units as drag
          from metrics.day_holdings h
          join metrics.day_marks m
            on m.report_date = h.report_date and m.book_id = h.book_id and m.instrument_id = h.instrument_id
           and m.from_minute < h.to_minute and m.to_minute > h.from_minute
         cross join lateral (select h.multiplier * h.quantity as units, h.multiplier * h.quantity * m.price as worth) as w
    ), steps as (
        select p.report_date, e.minute, sum(e.way) as open_positions, sum(e.way * coalesce(p.unrealized, 0)) as unrealized,
               sum(case when p.unrealized is null then e.way else 0 end) as lacks_unrealized,
               sum(case when p.worth is null then e.way else 0 end) as lacks_worth,
               sum(e.way * abs(coalesce(p.worth, 0))) as gross, sum(e.way * p.sign * coalesce(p.worth, 0)) as net,
               sum(e.way * coalesce(p.drag, 0)) as drag,
               sum(case when p.drag is null then e.way else 0 end) as lacks_drag,
               sum(case when p.is_stale then e.way else 0 end) as stale
          from pieces p
         cross join lateral (values (p.from_minute, 1), (p.to_minute, -1)) as e(minute, way)
         group by p.report_date, e.minute
    ), closes as (
        select report_date, minute, sum(realized_pnl) as realized_since, count(*) filter (where realized_pnl is null) as lacks_since,
               sum(realized_pnl) filter (where stretch = 2) as realized_today,
               count(*) filter (where stretch = 2 and realized_pnl is null) as lacks_today,
               sum(realized_pnl) filter (where stretch = 2 and realized_pnl > 0) as gains,
               sum(realized_pnl) filter (where stretch = 2 and realized_pnl < 0) as losses
          from metrics.day_moves where not is_opening and stretch > 0 group by report_date, minute
    ), results as (
        select report_date, closed_minute as minute, count(*) filter (where realized > 0) as wins,
               count(*) filter (where realized < 0) as defeats, count(*) filter (where realized is null) as lacks_result
          from metrics.day_trades where is_closed_today group by report_date, closed_minute
    ), acts as (
        select report_date, minute, sum(value) as traded, count(*) filter (where value is null) as lacks_value, sum(fees) as fees,
               count(*) filter (where fees is null) as lacks_fees
          from metrics.day_actions where is_counted group by report_date, minute
    ), minutes as (
        select d.report_date, d.session_open + k.minute * interval '1 minute' as ts, d.start_cash, d.realized_before, d.unrealized_before,
               sum(coalesce(s.open_positions, 0)) over w as open_positions, sum(coalesce(s.stale, 0)) over w as stale,
               sum(coalesce(s.unrealized, 0)) over w as unrealized, sum(coalesce(s.lacks_unrealized, 0)) over w as lacks_unrealized,
               sum(coalesce(s.gross, 0)) over w as gross, sum(coalesce(s.net, 0)) over w as net,
               sum(coalesce(s.lacks_worth, 0)) over w as lacks_worth,
               sum(coalesce(s.drag, 0)) over w as drag, sum(coalesce(s.lacks_drag, 0)) over w as lacks_drag,
               sum(coalesce(c.realized_since, 0)) over w as realized_since, sum(coalesce(c.lacks_since, 0)) over w as lacks_since,
               sum(coalesce(c.realized_today, 0)) over w as realized_today, sum(coalesce(c.lacks_today, 0)) over w as lacks_today,
               sum(coalesce(c.gains, 0)) over w as gains, sum(coalesce(c.losses, 0)) over w as losses,
               sum(coalesce(r.wins, 0)) over w as wins, sum(coalesce(r.defeats, 0)) over w as defeats,
               sum(coalesce(r.lacks_result, 0)) over w as lacks_result,
               sum(coalesce(a.traded, 0)) over w as traded, sum(coalesce(a.lacks_value, 0)) over w as lacks_value,
               sum(coalesce(a.fees, 0)) over w as fees, sum(coalesce(a.lacks_fees, 0)) over w as lacks_fees
          from days d
         cross join lateral generate_series(1, d.minutes) as k(minute)
          left join steps s on s.report_date = d.report_date and s.minute = k.minute
          left join closes c on c.report_date = d.report_date and c.minute = k.minute
          left join results r on r.report_date = d.report_date and r.minute = k.minute
          left join acts a on a.report_date = d.report_date and a.minute = k.minute
        window w as (partition by d.report_date order by k.minute)
    ), valued as (
        select m.*, m.realized_before + m.unrealized_before + m.start_cash as equity_before,
               case when m.lacks_unrealized = 0 and m.lacks_since = 0
                    then m.start_cash + m.realized_before + m.realized_since + m.unrealized end as equity
          from minutes m
    ), drawn as (
        select v.*, h.drawdown_before,
               max(metrics.round_even(v.equity, 2)) over (partition by v.report_date order by v.ts) as peak_today, h.peak_before
          from valued v
          left join lateral (
               select max(q.peak) as peak_before, max(100 * (q.peak - q.equity) / q.peak) filter (where q.peak > 0) as drawdown_before
                 from (select e.equity, max(e.equity) over (order by e.report_date) as peak
                         from (select * from metrics.equity_days e where e.report_date < v.report_date
                                order by e.report_date desc limit 252) as e) as q) as h on true
    ), fallen as (
        select d.*,
               case when d.equity is not null then greatest(
                   coalesce(d.drawdown_before, 0),
                   max(100 * (greatest(d.peak_before, d.peak_today) - metrics.round_even(d.equity, 2))
                           / nullif(greatest(d.peak_before, d.peak_today, 0), 0))
                       over (partition by d.report_date order by d.ts)) end as drawdown
          from drawn d
    )
    select p.kpi_name, f.ts, metrics.round_even(p.value, k.digits) as value,
           case when not p.is_marked or f.open_positions = 0 then 'ledger' when f.stale = 0 then 'live' else 'stale' end as source,
           f.report_date
      from fallen f
     cross join lateral (values
           ('Daily PnL', f.equity - f.equity_before, true),
           ('Realized PnL', case when f.lacks_today = 0 then f.realized_today end, false),
           ('Unrealized PnL', case when f.lacks_unrealized = 0 then f.unrealized end, true),
           ('Total PnL', f.equity - f.start_cash, true),
           ('Equity', f.equity, true),
           ('Daily return', case when f.equity_before > 0 then 100 * (f.equity - f.equity_before) / f.equity_before end, true),
           ('Win rate', case when f.lacks_result = 0 then 100 * f.wins / nullif(f.wins + f.defeats, 0) end, false),
           ('Profit factor', case when f.lacks_today = 0 then f.gains / nullif(-f.losses, 0) end, false),
           ('Open positions', f.open_positions, false),
           ('Gross exposure', case when f.lacks_worth = 0 then f.gross end, true),
           ('Net exposure', case when f.lacks_worth = 0 then f.net end, true),
           ('Traded value', case when f.lacks_value = 0 then f.traded end, false),
           ('Fees paid', case when f.lacks_fees = 0 then f.fees end, false),
           ('Max drawdown', f.drawdown, true),
           ('Liquidity drag', case when f.lacks_drag = 0 then f.drag end, true)) as p(kpi_name, value, is_marked)
      join metrics.kpi_catalog k on k.kpi_name = p.kpi_name and k.has_series
     where p.value is not null;
create unique index trades_kpi_series_mv_key on utils_statistics.trades_kpi_series_mv (report_date, kpi_name, ts);
comment on materialized view utils_statistics.trades_kpi_series_mv is 'Points of the 15 KPIs that have a series; source: ledger, live (every mark at most 15 minutes old) or stale.';

-- All KPIs of the catalog, each with its number or with the reason why there is none.
create materialized view utils_statistics.trades_kpi_values_mv as
    with judged as (
        select t.*,
               case when t.lacks_mark > 0 then 'no_mark' when t.lacks_cost + t.unknown_all > 0 then 'unknown_cost' end as equity_reason,
               case when t.lacks_mark_before > 0 then 'no_mark'
                    when t.lacks_cost_before + t.unknown_until_close > 0 then 'unknown_cost' end as before_reason,
               case when t.lacks_mark > 0 then 'no_mark' when t.lacks_size > 0 then 'unknown_cost' end as worth_reason,
               case when t.lacks_result > 0 then 'unknown_cost' end as result_reason,
               t.start_cash + t.realized_all + t.unrealized as equity,
               t.start_cash + t.realized_until_close + t.unrealized_before as equity_before
          from metrics.day_totals t
    ), compared as (
        select j.*,
               case when 'no_mark' in (j.equity_reason, j.before_reason) then 'no_mark'
                    else coalesce(j.equity_reason, j.before_reason) end as daily_reason,
               metrics.round_even(100 * (j.equity - j.equity_before) / nullif(j.equity_before, 0), 4) as daily_return
          from judged j
    ), returned as (
        select c.*, coalesce(c.daily_reason, case when c.equity_before <= 0 then 'no_base' end) as return_reason from compared c
    ), numbers as (
        select r.report_date, v.kpi_name, v.reason, case when v.reason is null then v.value end as value
          from returned r
          left join lateral (
               select count(*) as days, avg(x.daily_return) / nullif(stddev_samp(x.daily_return), 0) * sqrt(252::numeric) as ratio
                 from (select r.daily_return
                       union all
                       (select e.daily_return from metrics.equity_days e
                         where e.report_date < r.report_date and e.daily_return is not null
                         order by e.report_date desc limit 251)) as x(daily_return)
                where r.return_reason is null) as s on true
          left join lateral (
               select p.value from utils_statistics.trades_kpi_series_mv p
                where p.report_date = r.report_date and p.kpi_name = 'Max drawdown' order by p.ts desc limit 1) as f on true
          left join lateral (
               select coalesce(max(100 * (q.peak - q.equity) / q.peak) filter (where q.peak > 0), 0) as value
                 from (select e.equity, max(e.equity) over (order by e.report_date) as peak
                         from (select * from metrics.equity_days e where e.report_date < r.report_date
                                order by e.report_date desc limit 252) as e) as q
               having count(*) > 0) as h on true
         cross join lateral (values
               ('Daily PnL', r.equity - r.equity_before, r.daily_reason),
               ('Realized PnL', r.realized_today, case when r.lacks_realized_today > 0 then 'unknown_cost' end),
               ('Unrealized PnL', r.unrealized,
                case when r.lacks_mark > 0 then 'no_mark' when r.lacks_cost > 0 then 'unknown_cost' end),
               ('Total PnL', r.equity - r.start_cash, r.equity_reason),
               ('Equity', r.equity, r.equity_reason),
               ('Daily return', r.daily_return, r.return_reason),
               ('Win rate', 100.0 * r.wins / nullif(r.wins + r.defeats, 0),
                coalesce(r.result_reason, case when r.wins + r.defeats = 0 then 'none_closed' end)),
               ('Profit factor', r.gains / nullif(-r.losses, 0),
                case when r.lacks_realized_today > 0 then 'unknown_cost' when r.losses = 0 then 'no_losses' end),
               ('Expectancy', r.result / nullif(r.closed, 0),
                coalesce(r.result_reason, case when r.closed = 0 then 'none_closed' end)),
               ('Avg win', r.won / nullif(r.wins, 0), coalesce(r.result_reason, case when r.wins = 0 then 'none_closed' end)),
               ('Avg loss', r.lost / nullif(r.defeats, 0), coalesce(r.result_reason, case when r.defeats = 0 then 'none_closed' end)),
               ('Entries opened', r.entries, null),
               ('Add entries', r.adds, null),
               ('Trims taken', r.trims, null),
               ('Exits closed', r.exits, null),
               ('Open positions', r.open_positions, null),
               ('Gross exposure', r.gross, r.worth_reason),
               ('Net exposure', r.net, r.worth_reason),
               ('Traded value', r.traded, case when r.lacks_value > 0 then 'unknown_cost' end),
               ('Fees paid', r.fees, case when r.lacks_fees > 0 then 'unknown_cost' end),
               ('Avg hold time', r.hold_seconds, case when r.closed = 0 then 'none_closed' end),
               ('Max drawdown', coalesce(f.value, h.value), case when f.value is null and h.value is null then 'no_history' end),
               ('Sharpe ratio', s.ratio,
                coalesce(r.return_reason, case when s.days < 20 then 'too_few' when s.ratio is null then 'no_base' end)),
               ('Liquidity drag', r.drag,
                case when r.lacks_quote > 0 then 'no_quote' when r.lacks_size > 0 then 'unknown_cost' end),
               ('Oldest mark age', extract(epoch from r.valuation_at - r.oldest_mark_at),
                case when r.open_positions = 0 then 'none_open' when r.lacks_mark > 0 then 'no_mark' end)
               ) as v(kpi_name, value, reason)
    )
    select k.kpi_name, metrics.round_even(n.value, k.digits) as value_num, k.kind as value_kind, k.unit,
           n.reason as missing_reason, k.kpi_version, n.report_date
      from metrics.kpi_catalog k join numbers n on n.kpi_name = k.kpi_name;
create unique index trades_kpi_values_mv_key on utils_statistics.trades_kpi_values_mv (report_date, kpi_name);
comment on materialized view utils_statistics.trades_kpi_values_mv is 'Exact numbers of all KPIs, or why there is none: no_mark, unknown_cost, no_quote are faults, the rest is a quiet day.';

create materialized view utils_statistics.trades_kpi_summary_mv as
    select v.kpi_name, metrics.kpi_text(v.value_num, v.value_kind) as display_value, k.sort_order, v.report_date
      from utils_statistics.trades_kpi_values_mv v join metrics.kpi_catalog k on k.kpi_name = v.kpi_name;
create unique index trades_kpi_summary_mv_key on utils_statistics.trades_kpi_summary_mv (report_date, kpi_name);
comment on materialized view utils_statistics.trades_kpi_summary_mv is 'The display texts of all KPIs.';

-- The ten trades at each end of a KPI. Total PnL looks at every trade of the books: older ones come by the orders they are kept in.
create materialized view utils_statistics.trades_contract_extremes_by_kpi_mv as
    with candidates as (
        select m.report_date, m.kpi_name, t.trade_id, t.symbol collate "C" as symbol, t.contract_name collate "C" as contract_name,
               round(m.metric, 10) as metric, t.individual_pnl, t.is_open,
               case when t.is_open then 100 * t.sign * (t.mark - t.vwap) / nullif(t.vwap, 0) end as percent_change,
               t.basis, t.quantity, t.sign, t.multiplier, t.bid, t.ask, t.mid, t.mark_at, t.drag
          from metrics.trade_metrics m
          join metrics.trade_figures t
            on t.report_date = m.report_date and t.book_id = m.book_id and t.position_id = m.position_id
        union all
        select s.report_date, 'Total PnL', s.trade_id, s.symbol, s.contract_name, round(s.realized_pnl, 10), s.realized_pnl, false,
               null, 0, 0, 1, null, null, null, null, null, null
          from (select d.report_date, one.*
                  from metrics.work_days d
                 cross join metrics.counted_books b
                 cross join lateral (
                       (select * from metrics.settled_trades x
                         where x.book_id = b.book_id and x.realized_pnl is not null and x.closed_at <= d.previous_close
                         order by x.realized_pnl desc, x.symbol, x.contract_name, x.trade_id limit 10)
                       union
                       (select * from metrics.settled_trades x
                         where x.book_id = b.book_id and x.realized_pnl is not null and x.closed_at <= d.previous_close
                         order by x.realized_pnl, x.symbol, x.contract_name, x.trade_id limit 10)) as one) as s
    ), ranked as (
        select c.*,
               row_number() over (partition by report_date, kpi_name order by metric desc, symbol, contract_name, trade_id) as hi,
               row_number() over (partition by report_date, kpi_name order by metric, symbol, contract_name, trade_id) as lo
          from candidates c
    )
    select r.kpi_name, s.side, s.rank::integer as rank, r.trade_id, r.symbol::text as symbol, r.contract_name::text as contract_name,
           r.metric as metric_raw, abs(r.metric) as metric_abs, round(r.individual_pnl, 10) as individual_pnl,
           abs(round(r.individual_pnl, 10)) as abs_individual_pnl, round(r.percent_change, 10) as percent_change,
           round(r.basis, 10) as cost_basis, r.quantity as qty,
           case when r.is_open then r.bid end as bid_price, case when r.is_open then r.ask end as ask_price,
           case when r.is_open then round(r.mid, 10) end as mid_price, case when r.is_open then r.mark_at end as mid_ts,
           case when r.is_open then round(r.sign * (r.mid * r.quantity * r.multiplier - r.basis), 10) end as mid_mark_pnl,
           case when r.is_open then round(r.drag, 10) end as liquidity_drag, r.report_date
      from ranked r
     cross join lateral (values ('hi', r.hi), ('lo', r.lo)) as s(side, rank)
     where s.rank <= 10;
create unique index trades_contract_extremes_by_kpi_mv_key
    on utils_statistics.trades_contract_extremes_by_kpi_mv (report_date, kpi_name, side, rank);
comment on materialized view utils_statistics.trades_contract_extremes_by_kpi_mv is 'Per KPI the ten trades with the largest (hi) and the smallest (lo) quantity of their own.';

create materialized view utils_statistics.trades_portfolio_assets_mv as
    select trade_id, symbol, contract_name, report_date from metrics.day_trades where is_open;
create unique index trades_portfolio_assets_mv_key on utils_statistics.trades_portfolio_assets_mv (report_date, trade_id, contract_name);
comment on materialized view utils_statistics.trades_portfolio_assets_mv is 'The positions open at as_of.';

-- What a day was computed from. last_recorded_at: when the newest fact behind it became known, be it an action (also one that was
-- taken back, however old) or a mark.
create materialized view utils_statistics.trades_source_watermark_mv as
    select d.report_date, d.as_of, d.valuation_at, d.stage, greatest(h.known_from, m.recorded_at, k.recorded_at) as last_recorded_at,
           greatest(m.mark_at, k.mark_at) as last_mark_at, t.actions, t.closings, t.open_positions,
           (select coalesce(jsonb_object_agg(b.book_id, b.seq), '{}') from metrics.counted_books b) as ledger_seq,
           clock_timestamp() as refreshed_at,
           jsonb_strip_nulls(jsonb_build_object(
               'actions', nullif((select count(*) from metrics.day_actions a
                                   where a.report_date = d.report_date and not a.is_counted), 0),
               'open_positions', nullif((select count(*) from metrics.day_positions p
                                          where p.report_date = d.report_date and not p.is_counted and p.closed_at is null), 0),
               'books', nullif((select count(*) from metrics.counted_books b where not b.is_counted), 0))) as excluded,
           (select count(*) from metrics.day_actions a
             where a.report_date = d.report_date and a.is_counted and a.executed_at > d.session_close) as after_close,
           t.start_cash
      from metrics.work_days d
      join metrics.day_totals t on t.report_date = d.report_date
      left join lateral (
           select max(x.known_from) as known_from
             from metrics.counted_books b
            cross join lateral (
                  select a.known_from from ledger.v_action_history a
                   where a.book_id = b.book_id and a.executed_at <= d.last_at
                   order by a.known_from desc limit 1) as x) as h on true
      left join lateral (
           select greatest(max(f.mark_recorded_at), max(f.mark_before_recorded_at)) as recorded_at, max(f.mark_at) as mark_at
             from metrics.day_trades f where f.report_date = d.report_date) as m on true
      left join lateral (
           select max(h.recorded_at) as recorded_at, max(h.marked_at) as mark_at
             from (select distinct p.book_id, p.instrument_id from metrics.day_positions p
                    where p.report_date = d.report_date and p.is_counted) as i
            cross join lateral (
                  select h.recorded_at, h.marked_at from ledger.v_mark_history h
                   where h.book_id = i.book_id and h.instrument_id = i.instrument_id and h.bucket_at >= d.window_start
                     and h.bucket_at < d.valuation_at and h.marked_at < d.valuation_at
                   order by h.bucket_at offset 0) as h) as k on true;
create unique index trades_source_watermark_mv_key on utils_statistics.trades_source_watermark_mv (report_date);
comment on materialized view utils_statistics.trades_source_watermark_mv is 'What each day''s figures were computed from: instants, counts, the books'' sequence numbers, what was left out.';

-- ---- refresh ----

-- Bring everything to the snapshot of the calling transaction. All six show the same ledger only if that is one snapshot; whoever
-- calls takes the advisory lock before the transaction begins, so that its snapshot is younger than the refresh before.
create function utils_statistics.refresh_snapshot_views() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
set jit = off set work_mem = '32MB' as $$
begin
    if current_setting('transaction_isolation') <> 'repeatable read' then
        raise exception 'the views are refreshed in one repeatable read transaction' using errcode = '25001';
    end if;
    perform metrics.carry();
    refresh materialized view metrics.day_positions;
    analyze metrics.day_positions;
    refresh materialized view metrics.day_moves;
    refresh materialized view metrics.day_actions;
    analyze metrics.day_moves, metrics.day_actions;
    refresh materialized view metrics.day_trades;
    refresh materialized view metrics.day_holdings;
    refresh materialized view metrics.day_marks;
    analyze metrics.day_trades, metrics.day_holdings, metrics.day_marks;
    refresh materialized view concurrently utils_statistics.trades_kpi_series_mv;
    refresh materialized view concurrently utils_statistics.trades_kpi_values_mv;
    refresh materialized view concurrently utils_statistics.trades_kpi_summary_mv;
    refresh materialized view concurrently utils_statistics.trades_contract_extremes_by_kpi_mv;
    refresh materialized view concurrently utils_statistics.trades_portfolio_assets_mv;
    refresh materialized view concurrently utils_statistics.trades_source_watermark_mv;
end
$$;
comment on function utils_statistics.refresh_snapshot_views() is 'Refreshes all six views to one snapshot of the ledger; only in a repeatable read transaction.';

-- ---- grants ----

grant usage on schema utils_statistics, metrics to snapshot_source, snapshot_reader, desk_operator;
grant select on all tables in schema utils_statistics to snapshot_source, snapshot_reader, desk_operator;
grant select on metrics.snapshot_books, metrics.snapshot_days, metrics.kpi_catalog, metrics.equity_days
    to snapshot_source, snapshot_reader, desk_operator;
grant insert, update, delete on metrics.snapshot_days to snapshot_source;
grant insert, update on metrics.equity_days to snapshot_source;
grant insert, delete on metrics.snapshot_books to desk_operator;
grant execute on function utils_statistics.refresh_snapshot_views() to snapshot_source;
