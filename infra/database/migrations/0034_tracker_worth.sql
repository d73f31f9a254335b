-- What a book was worth when its sessions closed, taken at night, and sums of months beside those of days: what the read API shows
-- of long ranges is read, not worked out. Both say the same with and without them. Sources: tracker.md 4.2, 4.3, 12; decision 0052.

-- ---- executions of one ticker, newest first ----

create index execution_actions_by_ticker on ledger.execution_actions (book_id, ticker, executed_at desc, action_id)
    where superseded_at is null and state = 'BOOKED';
-- the key that others refer to is the newest index of its table again (decision 0012)
alter table ledger.closings drop constraint closings_action_fk;
alter table ledger.execution_actions drop constraint execution_actions_pk,
    add constraint execution_actions_pk primary key (book_id, action_id, version);
alter table ledger.closings
    add constraint closings_action_fk foreign key (book_id, action_id, version) references ledger.execution_actions;

-- ---- sums of months ----

create table ledger.result_months (like ledger.result_days);
alter table ledger.result_months
    add constraint result_months_key unique nulls not distinct (book_id, dimension, day, currency, key),
    add constraint result_months_book_fk foreign key (book_id) references ledger.books,
    add constraint result_months_day check (extract(day from day) = 1);
comment on table ledger.result_months is 'What the kept days of a calendar month add up to; day is its first.';
create view ledger.v_result_months as select * from ledger.result_months;

-- Take the months of some dates anew: what their kept days add up to.
create function ledger.sum_months(book text, the_days date[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    months date[] := array(select distinct date_trunc('month', d)::date from unnest(the_days) as d);
begin
    delete from ledger.result_months r where r.book_id = book and r.day = any(months);
    insert into ledger.result_months
    select book, r.dimension, m.month, r.currency, r.key, sum(r.entries), sum(r.adds), sum(r.trims), sum(r.exits), sum(r.realized),
           sum(r.unknown_realized), sum(r.fees), sum(r.unknown_fees), sum(r.gains), sum(r.losses), sum(r.unknown_parts), sum(r.wins),
           sum(r.defeats), sum(r.flats), sum(r.pending), sum(r.won), sum(r.lost), max(r.best), min(r.worst), sum(r.held_seconds),
           sum(r.trades)
      from unnest(months) as m(month)
      join ledger.result_days r
        on r.book_id = book and r.day >= m.month and r.day < (m.month + interval '1 month')::date
     group by m.month, r.dimension, r.currency, r.key;
end
$$;
comment on function ledger.sum_months(text, date[]) is 'Sums of the months of some dates, in the place of those that stood there.';

-- ---- what books were worth ----

-- What the open positions of some books were worth at some moments, per moment and currency: held by ``held_at`` (included), valued
-- at the last mark before ``valued_at``, which within a session is the instant after the one asked for. outlay: the cash that stands in them, in one that is paid in full its basis, else its fees.
-- lacks_<what>: of how many it is not known. Moments are given with their book and a number of the asker's; a position is looked
-- at for those moments alone at which it was held, told by their order. What was held is the lots as they stand where nothing
-- happened since, else Σ lots − Σ their closings by then. Readers and the nightly chore ask here, so that they cannot disagree.
create function ledger.worth_at(asked_books text[], asked_ns integer[], asked_held timestamptz[], asked_valued timestamptz[])
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
                     where q.book_id = a.book_id and q.status = 'OPEN' and q.opened_at <= a.last_at
                     order by q.instrument_id, q.direction offset 0)
                   union all
                   (select * from ledger.v_positions q
                     where q.book_id = a.book_id and q.status = 'CLOSED' and q.closed_at > a.first_at and q.opened_at <= a.last_at
                       and width_bucket(q.opened_at - interval '1 microsecond', a.held_ats)
                           < width_bucket(q.closed_at - interval '1 microsecond', a.held_ats)
                     order by q.closed_at, q.opened_at offset 0)) as p
             cross join lateral generate_series(
                   width_bucket(p.opened_at - interval '1 microsecond', a.held_ats) + 1,
                   coalesce(width_bucket(p.closed_at - interval '1 microsecond', a.held_ats), cardinality(a.held_ats))) as i
             cross join lateral (select a.ns[i] as n, a.held_ats[i] as held_at, a.valued_ats[i] as valued_at) as m
             cross join lateral (
                   select case p.direction when 'LONG' then 1 else -1 end as sign,
                          p.status = 'OPEN' and p.last_action_at <= m.held_at as is_still,
                          (p.book_id, p.instrument_id) in (select * from split) as is_split) as s
             cross join lateral (
                   select p.quantity_open as quantity, p.cost_basis as basis, null::numeric as fees
                    where s.is_still and p.quantity_closed = 0 and p.cash_style = 'full'
                   union all
                   select sum(l.held), case when bool_and(l.cost_basis is not null) then sum(l.cost_basis * l.held / l.quantity) end,
                          case when bool_and(l.fees is not null) then sum(l.fees * l.held / l.quantity) end
                     from ((select o.quantity, o.cost_basis, o.fees, o.quantity_open as held
                              from ledger.v_lots o
                             where s.is_still and o.book_id = p.book_id and o.position_id = p.position_id and o.quantity_open > 0
                             offset 0)
                           union all
                           (select o.quantity, o.cost_basis, o.fees, o.quantity - coalesce(c.quantity, 0)
                              from ledger.v_lots o
                              left join lateral (
                                    select sum(v.quantity) as quantity from ledger.v_closings v
                                     where v.book_id = o.book_id and v.lot_id = o.lot_id and v.executed_at <= m.held_at offset 0) as c on true
                             where not s.is_still and o.book_id = p.book_id and o.position_id = p.position_id
                               and o.opened_at <= m.held_at
                             offset 0)) as l
                    where l.held > 0 and not (s.is_still and p.quantity_closed = 0 and p.cash_style = 'full')) as h
              left join lateral (
                   (select v.price, v.marked_at as as_of from ledger.v_mark_history v
                     where not s.is_split and v.book_id = p.book_id and v.instrument_id = p.instrument_id
                       and v.bucket_at < m.valued_at and v.marked_at < m.valued_at
                     order by v.bucket_at desc limit 1)
                   union all
                   (select v.price, v.as_of from ledger.v_marks v
                     where s.is_split and v.book_id = p.book_id and v.instrument_id = p.instrument_id
                       and v.bucket_at < m.valued_at and v.as_of < m.valued_at
                     order by v.bucket_at desc limit 1)) as k on true
             where h.quantity > 0) as w
     group by w.n, w.book_id, w.currency
$$;
comment on function ledger.worth_at is 'What the open positions of some books were worth at some moments, per moment and currency.';

-- A session's day of a book: what its open positions had gained at the marks of its close, held by the close and by the day's end. A
-- day stands here whole or not at all, so that each has a row, if of nothing in the currency in which the book counts. A row counts while the
-- book's sums do, no later row touches its date or one before it, and no split came: whoever reads it leaves it out otherwise.
-- A mark that comes late, or goes, takes the days with it that it was a part of.
create table ledger.worth_days (
    book_id          text        not null,
    day              date        not null,
    currency         text        not null,
    held_at          timestamptz not null,
    valued_at        timestamptz not null,
    open_positions   bigint      not null,
    unrealized       numeric     not null,
    lacks_unrealized bigint      not null,
    stale            bigint      not null,
    constraint worth_days_pk primary key (book_id, day, held_at, currency),
    constraint worth_days_book_fk foreign key (book_id) references ledger.books
);
comment on table ledger.worth_days is 'What the positions of a book had gained at the close of each session, by currency.';
create view ledger.v_worth_days as select * from ledger.worth_days;

alter table ledger.result_books add column split_seq bigint not null default 0;
comment on column ledger.result_books.split_seq is 'The newest split that the kept worth of days knows of.';

create or replace view ledger.v_result_books as
    select k.book_id, k.seq, k.carried_at,
           k.split_seq = coalesce((select max(j.seq) from ledger.adjustments j where j.book_id = k.book_id), 0) as has_worth
      from ledger.result_books k
      join ledger.execution_actions s on s.book_id = k.book_id and s.seq = k.seq and s.row_hash = k.row_hash;
comment on view ledger.v_result_books is 'Books whose sums of days count, with the place of the chain up to which they do, and whether their worth does.';

-- As days_since, of the rows up to a place.
create function ledger.days_between(book text, after_seq bigint, until_seq bigint) returns setof date
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with come as materialized (
        select x.action_id, x.version, x.position_id, x.executed_at from ledger.execution_actions x
         where x.book_id = book and x.seq > after_seq and x.seq <= until_seq
    ), moved as (
        select c.executed_at from come c
        union
        select o.executed_at from come c
         cross join lateral (select x.executed_at from ledger.execution_actions x
                              where x.book_id = book and x.action_id = c.action_id and x.version < c.version offset 0) as o
         where c.version > 1
        union
        select o.executed_at
          from (select distinct t.position_id from come c
                 cross join lateral (select x.position_id from ledger.execution_actions x
                                      where x.book_id = book and x.action_id = c.action_id offset 0) as t
                 where c.version > 1) as p
         cross join lateral (select x.executed_at from ledger.execution_actions x
                              where x.book_id = book and x.position_id = p.position_id and x.superseded_at is null
                                and x.state = 'BOOKED' offset 0) as o)
    select distinct (m.executed_at at time zone 'America/New_York')::date from moved m
$$;
comment on function ledger.days_between(text, bigint, bigint) is 'New York dates whose sums became others between two places of the chain.';
create or replace function ledger.days_since(book text, after_seq bigint) returns setof date
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select ledger.days_between(book, after_seq, 9223372036854775807)
$$;

-- Carry a book's sums on along its chain, {book_id, now, rows_max}, by so many rows of it; answers how many dates were taken anew
-- and whether that was the end. A date is summed up as it stands: one that a later row touches is left out by readers until its
-- row is come to. Chain and seal as in v_action_seals. What days were worth goes as far as it may have become another:
-- carry_worth takes it anew.
create or replace function ledger.carry_results(document jsonb) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    book    text := document->>'book_id';
    last    record;
    newest  record;
    known   record;
    split   bigint;
    touched date[];
begin
    perform pg_advisory_xact_lock(hashtext('ledger.carry_results'), hashtext(book));
    select s.seq, s.row_hash into last from ledger.execution_actions s where s.book_id = book order by s.seq desc limit 1;
    select coalesce(max(j.seq), 0) into split from ledger.adjustments j where j.book_id = book;
    select k.seq, k.split_seq into known
      from ledger.result_books k
      join ledger.execution_actions s on s.book_id = k.book_id and s.seq = k.seq and s.row_hash = k.row_hash
     where k.book_id = book;
    if last.seq is null or known.seq is null then
        delete from ledger.worth_days w where w.book_id = book;
        delete from ledger.result_months r where r.book_id = book;
        delete from ledger.result_days r where r.book_id = book;
        delete from ledger.result_books k where k.book_id = book;
        if last.seq is null then
            return '{"dates": 0, "is_whole": true}';
        end if;
    end if;
    select s.seq, s.row_hash into newest
      from ledger.execution_actions s
     where s.book_id = book and s.seq > coalesce(known.seq, 0)
     order by s.seq offset (document->>'rows_max')::bigint - 1 limit 1;
    if newest.seq is null then
        newest := last;
    end if;
    touched := array(select ledger.days_between(book, coalesce(known.seq, 0), newest.seq));
    if known.split_seq = split then
        delete from ledger.worth_days w where w.book_id = book and w.day >= (select min(d) from unnest(touched) as d);
    else
        delete from ledger.worth_days w where w.book_id = book;
    end if;
    if cardinality(touched) > 0 then
        perform ledger.sum_days(book, touched);
        perform ledger.sum_months(book, touched);
    end if;
    insert into ledger.result_books (book_id, seq, row_hash, carried_at, split_seq)
    values (book, newest.seq, newest.row_hash, (document->>'now')::timestamptz, split)
    on conflict on constraint result_books_pk
    do update set seq = excluded.seq, row_hash = excluded.row_hash, carried_at = excluded.carried_at, split_seq = excluded.split_seq
     where (result_books.seq, result_books.row_hash, result_books.split_seq) <> (excluded.seq, excluded.row_hash, excluded.split_seq);
    return jsonb_build_object('dates', cardinality(touched), 'is_whole', newest.seq = last.seq);
end
$$;

-- Marks of a book and its kept worth go one after the other: whoever keeps marks waits until a page of days is taken, and then sees it.
create function ledger.lock_worth(book text, is_shared boolean) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
    select case when is_shared then pg_advisory_xact_lock_shared(hashtext('ledger.worth_days'), hashtext(book))
                else pg_advisory_xact_lock(hashtext('ledger.worth_days'), hashtext(book)) end
$$;

-- Take the worth of some days of a book at moments of theirs: {book_id, moments: [{day, held_at, valued_at}]} -> how many. A few at
-- a time: marks wait.
create function ledger.carry_worth(document jsonb) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    book text := document->>'book_id';
    days date[];
    helds timestamptz[];
    valueds timestamptz[];
begin
    perform ledger.lock_worth(book, false);
    select array_agg(d.day order by d.held_at), array_agg(d.held_at order by d.held_at), array_agg(d.valued_at order by d.held_at)
      into days, helds, valueds
      from jsonb_to_recordset(document->'moments') as d(day date, held_at timestamptz, valued_at timestamptz);
    delete from ledger.worth_days w where w.book_id = book and w.day = any(days);
    insert into ledger.worth_days (book_id, day, currency, held_at, valued_at, open_positions, unrealized, lacks_unrealized, stale)
    select book, days[i], coalesce(w.currency, b.base_currency), helds[i], valueds[i], coalesce(w.open_positions, 0),
           coalesce(w.unrealized, 0), coalesce(w.lacks_unrealized, 0), coalesce(w.stale, 0)
      from ledger.books b
     cross join generate_subscripts(days, 1) as i
      left join ledger.worth_at(array_fill(book, array[cardinality(days)]), array(select generate_subscripts(days, 1)), helds, valueds) as w
        on w.n = i
     where b.book_id = book;
    return to_jsonb(cardinality(days));
end
$$;

-- {book_id, now, marks: [{instrument, price, bid, ask, marked_at, source}]}: one row per 5-minute bucket, later marked_at wins.
-- One that comes after the days were taken that it is a part of takes them away again.
create or replace function ledger.mark(document jsonb) returns jsonb language plpgsql volatile as $$
declare
    book constant text := document->>'book_id';
    is_kept boolean;
begin
    if book not like 'replay:%' then
        perform ledger.lock_worth(book, true);
    end if;
    insert into ledger.marks as m (book_id, instrument, bucket_at, price, bid, ask, marked_at, recorded_at, source)
    select distinct on (r.instrument, bucket_at)
           book, r.instrument,
           to_timestamp(floor(extract(epoch from r.marked_at) / 300) * 300) as bucket_at,
           r.price, r.bid, r.ask, r.marked_at, (document->>'now')::timestamptz, r.source
      from jsonb_to_recordset(document->'marks') as r(instrument text, price numeric, bid numeric, ask numeric,
                                                      marked_at timestamptz, source text)
     order by r.instrument, bucket_at, r.marked_at desc
    on conflict on constraint marks_pk do update
       set (price, bid, ask, marked_at, recorded_at, source)
         = (excluded.price, excluded.bid, excluded.ask, excluded.marked_at, excluded.recorded_at, excluded.source)
     where excluded.marked_at > m.marked_at;
    is_kept := found;
    if is_kept and book not like 'replay:%' then
        delete from ledger.worth_days w
         using (select min(r.marked_at) as first_at
                  from jsonb_to_recordset(document->'marks') as r(marked_at timestamptz)) as came
         where w.book_id = book and w.day >= (came.first_at at time zone 'America/New_York')::date and w.valued_at > came.first_at;
    end if;
    return to_jsonb(is_kept);
end $$;

-- Marks are input and may expire: {before, rows_max} -> deleted rows. Security definer: writers are not granted DELETE, and
-- no clock set ahead deletes what is younger than 700 days of real time. A mark was a part of the days until the next one of its
-- instrument, as long as that was held.
create or replace function ledger.purge_marks(document jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    deleted bigint;
begin
    with gone as (
        delete from ledger.marks m where (m.book_id, m.instrument, m.bucket_at) in (
            select x.book_id, x.instrument, x.bucket_at from ledger.marks x
             where x.bucket_at < least((document->>'before')::timestamptz, clock_timestamp() - interval '700 days')
             limit (document->>'rows_max')::integer)
        returning m.book_id, m.instrument, m.bucket_at
    ), held as (
        select p.book_id, p.instrument, max(coalesce(p.closed_at, 'infinity')) as until
          from ledger.positions p
         where (p.book_id, p.instrument) in (select g.book_id, g.instrument from gone g)
         group by p.book_id, p.instrument
    ), parts as (
        select g.book_id, min(g.bucket_at) as since, max(least(h.until, n.bucket_at)) + interval '5 minutes' as until
          from gone g
          join held h on h.book_id = g.book_id and h.instrument = g.instrument and h.until > g.bucket_at
          left join lateral (
               select x.bucket_at from ledger.marks x
                where x.book_id = g.book_id and x.instrument = g.instrument and x.bucket_at > g.bucket_at
                order by x.bucket_at limit 1) as n on true
         group by g.book_id
    ), unkept as (
        delete from ledger.worth_days w using parts p
         where w.book_id = p.book_id and w.valued_at > p.since and w.valued_at <= p.until
    )
    select count(*) into deleted from gone;
    return to_jsonb(deleted);
end $$;

do $$
declare
    name text;
begin
    foreach name in array array['result_months', 'worth_days'] loop
        execute format('alter table ledger.%I enable row level security', name);
        execute format('create policy %I on ledger.%I for select using (true)', name || '_read', name);
        execute format('create policy %I on ledger.%I for all to ledger_writer '
                       'using (book_id not like ''replay:%%'') with check (book_id not like ''replay:%%'')', name || '_live', name);
        execute format('create policy %I on ledger.%I for all to ledger_maintenance using (true) with check (true)',
                       name || '_maintenance', name);
        execute format('grant select, insert, update, delete on ledger.%I to ledger_writer, ledger_maintenance', name);
    end loop;
    foreach name in array array['ledger_reader', 'ledger_writer', 'tracker_reader'] loop
        execute format('grant select on ledger.v_result_months, ledger.v_worth_days to %I', name);
        execute format('grant execute on function ledger.worth_at(text[], integer[], timestamptz[], timestamptz[]) to %I', name);
    end loop;
end
$$;
revoke all on function ledger.sum_months(text, date[]), ledger.lock_worth(text, boolean), ledger.carry_worth(jsonb),
    ledger.worth_at(text[], integer[], timestamptz[], timestamptz[]) from public;
revoke all on function ledger.days_between(text, bigint, bigint) from public;
grant execute on function ledger.days_between(text, bigint, bigint) to ledger_writer, ledger_maintenance, ledger_reader, tracker_reader;
grant execute on function ledger.sum_months(text, date[]), ledger.carry_worth(jsonb) to ledger_writer, ledger_maintenance;
grant execute on function ledger.worth_at(text[], integer[], timestamptz[], timestamptz[]) to ledger_maintenance;
grant execute on function ledger.lock_worth(text, boolean) to ledger_writer, replay_writer, ledger_maintenance;
