-- Room ledger, faster: the index behind each key that others refer to is the newest of its table.
--
-- A foreign key is checked by a plan that a session makes once, and on a young table every index that begins with book_id
-- looks equally good. Among equals the planner takes the newest, and that was one on which only book_id narrows: each check
-- read the whole book until the first ANALYZE. Made again here, the keys themselves are the newest. A later migration that
-- adds an index to one of these tables has to do the same (a test counts what the checks read).

alter table ledger.closings drop constraint closings_action_fk, drop constraint closings_lot_fk;
alter table ledger.execution_actions drop constraint execution_actions_fill_fk, drop constraint execution_actions_position_fk;
alter table ledger.lots drop constraint lots_position_fk;

alter table ledger.fills drop constraint fills_seq_key, add constraint fills_seq_key unique (book_id, seq);
alter table ledger.positions drop constraint positions_pk, add constraint positions_pk primary key (book_id, position_id);
alter table ledger.lots drop constraint lots_pk, add constraint lots_pk primary key (book_id, lot_id);
alter table ledger.execution_actions drop constraint execution_actions_pk,
    add constraint execution_actions_pk primary key (book_id, action_id, version);

alter table ledger.lots add constraint lots_position_fk foreign key (book_id, position_id) references ledger.positions;
alter table ledger.execution_actions
    add constraint execution_actions_fill_fk foreign key (book_id, fill_seq) references ledger.fills (book_id, seq),
    add constraint execution_actions_position_fk foreign key (book_id, position_id) references ledger.positions;
alter table ledger.closings
    add constraint closings_action_fk foreign key (book_id, action_id, version) references ledger.execution_actions,
    add constraint closings_lot_fk foreign key (book_id, lot_id) references ledger.lots;

-- {book_id, instruments, fill_ids, may_move, book_row, totals, session_date} -> what a booking of these is computed from.
-- As before, but a position comes with its open lots, so that each is looked up once.
create or replace function ledger.load(document jsonb) returns json language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    book constant text := document->>'book_id';
    named uuid[];
    wanted text[] := array(select jsonb_array_elements_text(document->'instruments'));
    head json;
    known json;
begin
    if jsonb_array_length(document->'fill_ids') > 0 then
        named := array(select jsonb_array_elements_text(document->'fill_ids')::uuid);
    end if;
    if (document->>'may_move')::boolean then
        wanted := array(select unnest(wanted)
                        union select f.instrument from unnest(named) as one
                              cross join lateral (
                                    select * from ledger.fills f where f.book_id = book and f.fill_id = one
                                     order by f.version offset 0) as f);
    end if;
    if cardinality(wanted) = 1 then
        perform pg_advisory_xact_lock(hashtextextended(book || chr(31) || wanted[1], 7));
    else
        perform ledger.lock_instruments(book, wanted);
    end if;
    if (document->>'book_row')::boolean then
        select to_json(b) into head from ledger.books b where b.book_id = book for update;
    else
        select to_json(b) into head from ledger.books b where b.book_id = book;
    end if;
    if named is not null then
        select json_agg(f order by f.fill_id, f.version) into known
          from unnest(named) as one
         cross join lateral (select * from ledger.fills f where f.book_id = book and f.fill_id = one
                              order by f.version offset 0) as f;
    end if;
    return json_build_object(
        'book', head,
        'book_row', document->'book_row',
        'fill_ids', document->'fill_ids',
        'fills', known,
        -- [position, its open lots]: one look-up per instrument and position, whatever the planner thinks of their number:
        -- offset 0 keeps it so, and the order within names the index, also while the statistics are those of an empty table
        'positions', (
            select json_agg(json_build_array(p, (
                       select json_agg(l)
                         from (select * from ledger.lots l
                                where l.book_id = book and l.position_id = p.position_id and l.quantity_open > 0
                                order by l.opened_at, l.venue_order, l.fill_id offset 0) as l)) order by p.direction)
              from unnest(wanted) as name
             cross join lateral (
                   select * from ledger.positions p
                    where p.book_id = book and p.instrument = name and p.status = 'OPEN'
                    order by p.direction offset 0) as p),
        'tails', (
            select json_agg(json_build_array(
                name, tail.executed_at, tail.venue_order, tail.fill_id,
                (select max(j.effective_at) from ledger.adjustments j where j.book_id = book and j.instrument = name),
                (select count(*) from ledger.parked_fills k where k.book_id = book and k.instrument = name)))
              from unnest(wanted) as name
              left join lateral (
                  select a.executed_at, a.venue_order, a.fill_id from ledger.execution_actions a
                   where a.book_id = book and a.instrument = name and a.superseded_at is null and a.state = 'BOOKED'
                   order by a.executed_at desc, a.venue_order desc, a.fill_id desc, a.leg desc limit 1) as tail on true),
        'totals', case when (document->>'totals')::boolean
                       then ledger.totals(book, (document->>'session_date')::date) end);
end $$;

-- Writes one booking; as before, but only a hedging book pays for the question of the direction.
create or replace function ledger.apply(document jsonb) returns jsonb language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    book constant text := document->>'book_id';
    recorded constant timestamptz := (document->>'recorded_at')::timestamptz;
    mode text;
begin
    update ledger.books b
       set seq = (document->>'seq')::bigint, chain_head = (document->>'chain_head')::bytea, last_recorded_at = recorded
     where b.book_id = book and b.seq = (document->>'expected_seq')::bigint
    returning b.netting into mode;
    if not found then
        raise exception 'the book moved on' using errcode = '40001';
    end if;
    if mode = 'hedge' then  -- a question of its own: an expression with a query in it is planned for every booking
        if exists (select from jsonb_to_recordset(document->'fills') as r(direction ledger.direction) where r.direction is null) then
            raise exception 'a fill of a hedging book needs a direction' using errcode = '23514', constraint = 'fills_hedge_direction';
        end if;
    end if;
    insert into ledger.fills select * from jsonb_populate_recordset(null::ledger.fills, document->'fills');
    if document ? 'adjustments' then
        insert into ledger.adjustments select * from jsonb_populate_recordset(null::ledger.adjustments, document->'adjustments');
    end if;
    if document ? 'positions_left' then
        perform ledger.put_positions(document->'positions_left');
    end if;
    if document ? 'positions' then
        perform ledger.put_positions(document->'positions');
    end if;
    if document ? 'lots' then
        insert into ledger.lots select * from jsonb_populate_recordset(null::ledger.lots, document->'lots')
        on conflict on constraint lots_pk do update set
            (position_id, fill_id, action_id, lot_ref, opened_at, venue_order, status, quantity, price, multiplier, value, fees,
             fees_base, basis, fx_rate, split_factor, price_adjusted, quantity_adjusted, quantity_open, value_open, basis_open,
             fees_base_open)
          = (excluded.position_id, excluded.fill_id, excluded.action_id, excluded.lot_ref, excluded.opened_at,
             excluded.venue_order, excluded.status, excluded.quantity, excluded.price, excluded.multiplier, excluded.value,
             excluded.fees, excluded.fees_base, excluded.basis, excluded.fx_rate, excluded.split_factor,
             excluded.price_adjusted, excluded.quantity_adjusted, excluded.quantity_open, excluded.value_open,
             excluded.basis_open, excluded.fees_base_open);
    end if;
    if document ? 'superseded' then
        update ledger.execution_actions a set superseded_at = recorded
          from jsonb_to_recordset(document->'superseded') as r(action_id uuid, version integer)
         where a.book_id = book and a.action_id = r.action_id and a.version = r.version;
    end if;
    if document ? 'actions' then
        insert into ledger.execution_actions
        select * from jsonb_populate_recordset(null::ledger.execution_actions, document->'actions');
    end if;
    if document ? 'closings' then
        insert into ledger.closings select * from jsonb_populate_recordset(null::ledger.closings, document->'closings');
    end if;
    if document ? 'unparked' then
        delete from ledger.parked_fills k
         using jsonb_to_recordset(document->'unparked') as r(fill_id uuid) where k.book_id = book and k.fill_id = r.fill_id;
    end if;
    if document ? 'parked' then
        insert into ledger.parked_fills select * from jsonb_populate_recordset(null::ledger.parked_fills, document->'parked')
        on conflict on constraint parked_fills_pk do update
           set (reason, parked_at, instrument) = (excluded.reason, excluded.parked_at, excluded.instrument);
    end if;
    if document ? 'events' then
        perform outbox.enqueue(document->'events');
    end if;
    return document->'seq';
end $$;
