-- What the read API needs of other rooms for its figures: bands of scores, later versions in the order in which they became known,
-- how far the schema is, and sums of days that are over.

-- The ten points in which a score lies, as text; null for what is none.
create function ledger.score_band(score text) returns text
language sql immutable parallel safe
return case when score ~ '^[0-9]{1,3}([.][0-9]+)?$'
            then least(floor(score::numeric / 10)::integer, 9) * 10 || '-' || least(floor(score::numeric / 10)::integer, 9) * 10 + 10 end;
comment on function ledger.score_band(text) is 'Bands of ten points; the upper end belongs to the next, 100 to the last.';

create view ledger.v_corrections as
    select book_id, tenant_id, action_id, version, state, known_from, cause, position_id, ticker, direction, action_type, quantity,
           price, realized_pnl, currency
      from ledger.v_action_history where version > 1;
comment on view ledger.v_corrections is 'Later versions of actions: corrections, knock-on changes and busts.';
create index execution_actions_corrections on ledger.execution_actions (book_id, recorded_at desc) where version > 1;

-- The table is the migrations' own, so that a schema without it says that nothing was applied.
create function ops.applied_migration() returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    found text;
begin
    if to_regclass('ops.migration_version') is not null then
        execute 'select max(version_num) from ops.migration_version' into found;
    end if;
    return found;
end
$$;
create view ops.v_migration as select ops.applied_migration() as version;
comment on view ops.v_migration is 'The newest migration that was applied.';

do $$
declare
    reader name;
begin
    foreach reader in array array['ledger_reader', 'ledger_writer', 'replay_writer', 'tracker_reader', 'snapshot_reader',
                                  'notify_reader', 'replay_reader'] loop
        execute format('grant select on ledger.v_corrections to %I', reader);
        execute format('grant execute on function ledger.score_band(text) to %I', reader);
    end loop;
end
$$;
revoke all on function ops.applied_migration() from public;
grant usage on schema ops to tracker_reader;
grant select on ops.v_migration to tracker_reader;
grant execute on function ops.applied_migration() to tracker_reader;

-- ---- sums of days that are over ----

-- Results of long ranges are added up from days. A day's sums say what its actions said when the book was as long as the watermark;
-- whoever reads them leaves out every day that a later row touches and reads that from the actions. Nothing else depends on them:
-- without them figures are the same and take longer. ``dimension`` is the word by which a row is told apart: none, ticker,
-- direction, reason, trigger_reason, score_band. Dates are New York's.
create table ledger.result_books (
    book_id    text        not null,
    seq        bigint      not null,
    row_hash   bytea       not null,
    carried_at timestamptz not null,
    constraint result_books_pk primary key (book_id),
    constraint result_books_book_fk foreign key (book_id) references ledger.books
);
comment on table ledger.result_books is 'How far each book''s sums of days are carried, by the seal of its last action: another seal there and they count no more.';

create table ledger.result_days (
    book_id          text    not null,
    dimension        text    not null,
    day              date    not null,
    currency         text    not null,
    key              text,
    entries          bigint  not null,
    adds             bigint  not null,
    trims            bigint  not null,
    exits            bigint  not null,
    realized         numeric not null,
    unknown_realized bigint  not null,
    fees             numeric not null,
    unknown_fees     bigint  not null,
    gains            numeric not null,
    losses           numeric not null,
    unknown_parts    bigint  not null,
    wins             bigint  not null,
    defeats          bigint  not null,
    flats            bigint  not null,
    pending          bigint  not null,
    won              numeric not null,
    lost             numeric not null,
    best             numeric,
    worst            numeric,
    held_seconds     numeric not null,
    trades           bigint  not null,
    constraint result_days_key unique nulls not distinct (book_id, dimension, day, currency, key),
    constraint result_days_book_fk foreign key (book_id) references ledger.books,
    constraint result_days_dimension check (dimension in ('none', 'ticker', 'direction', 'reason', 'trigger_reason', 'score_band'))
);
comment on table ledger.result_days is 'Sums of a book''s actions by New York date: what was executed, and how the positions that it closed ended.';
comment on column ledger.result_days.trades is 'Positions that acted on the date.';
comment on column ledger.result_days.gains is 'Of closings, lot by lot; won is of positions.';

-- Take the sums of some dates of a book anew.
create function ledger.sum_days(book text, the_days date[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    delete from ledger.result_days r where r.book_id = book and r.day = any(the_days);
    insert into ledger.result_days
    with acts as materialized (
        select d.day, a.action_id, a.version, a.position_id, a.ticker, a.direction, a.currency, a.executed_at, a.action_type,
               a.realized_pnl, a.fees, a.reason, a.position_realized_pnl_after as result
          from unnest(the_days) as d(day)
         cross join lateral (
               select * from ledger.execution_actions x
                where x.book_id = book and x.superseded_at is null and x.state = 'BOOKED'
                  and x.executed_at >= d.day::timestamp at time zone 'America/New_York'
                  and x.executed_at < (d.day + 1)::timestamp at time zone 'America/New_York'
                order by x.executed_at desc offset 0) as a
    ), parts as (
        select a.*, e.executed_at as opened_at, e.meta, c.gains, c.losses, c.unknown,
               row_number() over (partition by a.day, a.position_id order by a.executed_at) = 1 as is_first,
               row_number() over (partition by a.day, a.position_id, a.reason order by a.executed_at) = 1 as is_first_of_reason
          from acts a
         cross join lateral (
               select x.executed_at, x.meta from ledger.execution_actions x
                where x.book_id = book and x.position_id = a.position_id and x.superseded_at is null and x.state = 'BOOKED'
                  and x.action_type = 'ENTRY'
                order by x.executed_at limit 1) as e
          left join lateral (
               select sum(v.realized_pnl) filter (where v.realized_pnl > 0) as gains,
                      sum(v.realized_pnl) filter (where v.realized_pnl < 0) as losses,
                      count(*) filter (where v.realized_pnl is null) as unknown
                 from ledger.closings v
                where v.book_id = book and v.action_id = a.action_id and v.version = a.version) as c on true
    )
    select book, w.dimension, p.day, p.currency, w.key,
           count(*) filter (where action_type = 'ENTRY'), count(*) filter (where action_type = 'ADD_ENTRY'),
           count(*) filter (where action_type = 'TRIM'), count(*) filter (where action_type = 'EXIT'),
           coalesce(sum(realized_pnl), 0), count(*) filter (where action_type in ('TRIM', 'EXIT') and realized_pnl is null),
           coalesce(sum(fees), 0), count(*) filter (where fees is null),
           coalesce(sum(gains), 0), coalesce(sum(losses), 0), coalesce(sum(unknown), 0),
           count(*) filter (where action_type = 'EXIT' and result > 0), count(*) filter (where action_type = 'EXIT' and result < 0),
           count(*) filter (where action_type = 'EXIT' and result = 0), count(*) filter (where action_type = 'EXIT' and result is null),
           coalesce(sum(result) filter (where action_type = 'EXIT' and result > 0), 0),
           coalesce(sum(result) filter (where action_type = 'EXIT' and result < 0), 0),
           max(result) filter (where action_type = 'EXIT'), min(result) filter (where action_type = 'EXIT'),
           coalesce(sum(extract(epoch from executed_at - opened_at)) filter (where action_type = 'EXIT'), 0),
           count(*) filter (where case when w.dimension = 'reason' then is_first_of_reason else is_first end)
      from parts p
     cross join lateral (values
           ('none', null), ('ticker', p.ticker), ('direction', p.direction::text), ('reason', p.reason),
           ('trigger_reason', p.meta->>'trigger_reason'), ('score_band', ledger.score_band(p.meta->>'rank'))) as w(dimension, key)
     group by w.dimension, p.day, p.currency, w.key;
end
$$;
comment on function ledger.sum_days(text, date[]) is 'Sums of whole dates of one book, in the place of those that stood there.';

-- The dates of a book that rows after a place of its chain touch: their own, those of the versions that they replaced, and of a
-- position whose past became another one all of its dates.
create function ledger.days_since(book text, after_seq bigint) returns setof date
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with come as materialized (
        select x.action_id, x.version, x.position_id, x.executed_at from ledger.execution_actions x
         where x.book_id = book and x.seq > after_seq
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
comment on function ledger.days_since(text, bigint) is 'New York dates whose sums are not those of the watermark any more.';

-- Carry a book's sums on to the end of its chain; answers how many dates were taken anew. Chain and seal as in v_action_seals.
create function ledger.carry_results(document jsonb) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    book    text := document->>'book_id';
    newest  record;
    carried bigint;
    touched date[];
begin
    perform pg_advisory_xact_lock(hashtext('ledger.carry_results'), hashtext(book));
    select s.seq, s.row_hash into newest from ledger.execution_actions s where s.book_id = book order by s.seq desc limit 1;
    if newest.seq is null then
        delete from ledger.result_days r where r.book_id = book;
        delete from ledger.result_books k where k.book_id = book;
        return to_jsonb(0);
    end if;
    select k.seq into carried
      from ledger.result_books k
      join ledger.execution_actions s on s.book_id = k.book_id and s.seq = k.seq and s.row_hash = k.row_hash
     where k.book_id = book;
    if carried = newest.seq then
        return to_jsonb(0);
    end if;
    if carried is null then
        delete from ledger.result_days r where r.book_id = book;
        touched := array(select distinct (x.executed_at at time zone 'America/New_York')::date from ledger.execution_actions x
                          where x.book_id = book and x.superseded_at is null and x.state = 'BOOKED');
    else
        touched := array(select ledger.days_since(book, carried));
    end if;
    perform ledger.sum_days(book, touched);
    insert into ledger.result_books (book_id, seq, row_hash, carried_at)
    values (book, newest.seq, newest.row_hash, (document->>'now')::timestamptz)
    on conflict on constraint result_books_pk
    do update set seq = excluded.seq, row_hash = excluded.row_hash, carried_at = excluded.carried_at;
    return to_jsonb(cardinality(touched));
end
$$;

create view ledger.v_result_days as select * from ledger.result_days;
create view ledger.v_result_books as
    select k.book_id, k.seq, k.carried_at
      from ledger.result_books k
      join ledger.execution_actions s on s.book_id = k.book_id and s.seq = k.seq and s.row_hash = k.row_hash;
comment on view ledger.v_result_books is 'Books whose sums of days count, with the place of the chain up to which they do.';

do $$
declare
    name text;
begin
    foreach name in array array['result_books', 'result_days'] loop
        execute format('alter table ledger.%I enable row level security', name);
        execute format('create policy %I on ledger.%I for select using (true)', name || '_read', name);
        execute format('create policy %I on ledger.%I for all to ledger_writer '
                       'using (book_id not like ''replay:%%'') with check (book_id not like ''replay:%%'')', name || '_live', name);
        execute format('create policy %I on ledger.%I for all to ledger_maintenance using (true) with check (true)',
                       name || '_maintenance', name);
        execute format('grant select, insert, update, delete on ledger.%I to ledger_writer, ledger_maintenance', name);
    end loop;
    foreach name in array array['ledger_reader', 'ledger_writer', 'tracker_reader'] loop
        execute format('grant select on ledger.v_result_days, ledger.v_result_books to %I', name);
    end loop;
end
$$;
revoke all on function ledger.sum_days(text, date[]), ledger.days_since(text, bigint), ledger.carry_results(jsonb) from public;
grant execute on function ledger.sum_days(text, date[]), ledger.days_since(text, bigint), ledger.carry_results(jsonb)
    to ledger_writer, ledger_maintenance;
grant execute on function ledger.days_since(text, bigint) to ledger_reader, tracker_reader;
