-- What is folded again ends at the first flat point behind the last change, so that a correction costs its own window and not
-- everything since. Source: ledger specification, 8; decision 0066.

-- {book_id, rows: [{instrument, before: [executed_at, venue_order, fill_id], until, fill_ids}], fills_max} -> what is stored
-- from the last flat point before each key on: current fills, splits, current actions with closings, their positions and lots;
-- with a key `until`, up to the first flat point at or after it, unless something is parked. VOID actions come along so that
-- their numbering goes on.
create or replace function ledger.load_history(document jsonb) returns json language plpgsql volatile as $$
declare
    book constant text := document->>'book_id';
    fills_max constant bigint := (document->>'fills_max')::bigint;
    wanted record;
    first record;
    flat record;
    last record;
    named uuid[];
    touched uuid[];
    current_fills json;
    stored json;
    held uuid[];
    answers json[] := '{}';
begin
    for wanted in
        select r.instrument, (r.before->>0)::timestamptz as executed_at, r.before->>1 as venue_order, (r.before->>2)::uuid as fill_id,
               (r.until->>0)::timestamptz as until_at, r.until->>1 as until_order, (r.until->>2)::uuid as until_fill, r.fill_ids
          from jsonb_to_recordset(document->'rows') as r(instrument text, before jsonb, until jsonb, fill_ids jsonb)
    loop
        named := array(select jsonb_array_elements_text(wanted.fill_ids)::uuid);
        -- parked facts are tried again: their keys count too
        select c.executed_at, c.venue_order, c.fill_id into first
          from ledger.parked_fills k
          join lateral (
              select f.executed_at, f.venue_order, f.fill_id from ledger.fills f
               where f.book_id = book and f.fill_id = k.fill_id
               order by f.source_revision desc, f.is_bust desc, f.version desc limit 1) as c on true
         where k.book_id = book and k.instrument = wanted.instrument
         order by c.executed_at, c.venue_order, c.fill_id limit 1;
        -- with nothing open there, what comes later is what it was; a parked fact might be booked by then and is looked for whole
        select null::timestamptz as executed_at, null::text as venue_order, null::uuid as fill_id into last;
        if first.executed_at is null and wanted.until_at is not null then
            select a.executed_at, a.venue_order, a.fill_id into last
              from ledger.execution_actions a
             where a.book_id = book and a.instrument = wanted.instrument and a.superseded_at is null and a.state = 'BOOKED'
               and (a.executed_at, a.venue_order, a.fill_id)
                   >= (wanted.until_at, wanted.until_order collate "C", wanted.until_fill)
               and a.is_flat_after
               and not exists (select from ledger.execution_actions b
                                where b.book_id = book and b.fill_id = a.fill_id and b.leg > a.leg
                                  and b.superseded_at is null and b.state = 'BOOKED')
             order by a.executed_at, a.venue_order, a.fill_id, a.leg limit 1;
        end if;
        if first.executed_at is null or (first.executed_at, first.venue_order collate "C", first.fill_id)
               >= (wanted.executed_at, wanted.venue_order collate "C",
                   coalesce(wanted.fill_id, '00000000-0000-0000-0000-000000000000')) then
            select wanted.executed_at, wanted.venue_order,
                   coalesce(wanted.fill_id, '00000000-0000-0000-0000-000000000000') as fill_id into first;
        end if;
        -- the last action before the key after which nothing was open; a fill's first leg is no point to start from
        select a.executed_at, a.venue_order, a.fill_id into flat
          from ledger.execution_actions a
         where a.book_id = book and a.instrument = wanted.instrument and a.superseded_at is null and a.state = 'BOOKED'
           and (a.executed_at, a.venue_order, a.fill_id)
             < (first.executed_at, first.venue_order collate "C", first.fill_id)
           and a.is_flat_after
           and not exists (select from ledger.execution_actions b
                            where b.book_id = book and b.fill_id = a.fill_id and b.leg > a.leg
                              and b.superseded_at is null and b.state = 'BOOKED')
         order by a.executed_at desc, a.venue_order desc, a.fill_id desc, a.leg desc limit 1;
        touched := array(
            select distinct f.fill_id from ledger.fills f
             where f.book_id = book and f.instrument = wanted.instrument
               and (flat.executed_at is null or f.executed_at >= flat.executed_at)
               and (last.executed_at is null or f.executed_at <= last.executed_at)
             limit fills_max + 1);
        if cardinality(touched) > fills_max then
            return json_build_object('too_large', wanted.instrument);
        end if;
        touched := touched || named;
        select json_agg(c order by c.executed_at, c.venue_order, c.fill_id) into current_fills
          from (select distinct on (f.fill_id) f.* from ledger.fills f
                 where f.book_id = book and f.fill_id = any (touched)
                 order by f.fill_id, f.source_revision desc, f.is_bust desc, f.version desc) as c
         where c.instrument = wanted.instrument
           and (flat.executed_at is null or (c.executed_at, c.venue_order, c.fill_id)
                                          > (flat.executed_at, flat.venue_order collate "C", flat.fill_id))
           and (last.executed_at is null or (c.executed_at, c.venue_order, c.fill_id)
                                         <= (last.executed_at, last.venue_order collate "C", last.fill_id));
        select json_agg(json_build_object('action', a, 'closings', (
                   select json_agg(c order by c.ordinal) from ledger.closings c
                    where c.book_id = book and c.action_id = a.action_id and c.version = a.version))),
               array_agg(distinct a.position_id) filter (where a.state = 'BOOKED' and a.instrument = wanted.instrument)
          into stored, held
          from ledger.execution_actions a
         where a.book_id = book and a.fill_id = any (touched) and a.superseded_at is null
           and (a.state = 'VOID' or a.fill_id = any (named)
                or (a.instrument = wanted.instrument
                    and (flat.executed_at is null or (a.executed_at, a.venue_order, a.fill_id)
                                                   > (flat.executed_at, flat.venue_order collate "C", flat.fill_id))
                    and (last.executed_at is null or (a.executed_at, a.venue_order, a.fill_id)
                                                  <= (last.executed_at, last.venue_order collate "C", last.fill_id))));
        answers := answers || json_build_object(
            'instrument', wanted.instrument,
            'is_bounded', last.executed_at is not null,
            'fills', current_fills,
            'actions', stored,
            'adjustments', (
                select json_agg(c) from (
                    select distinct on (j.adjustment_id) j.* from ledger.adjustments j
                     where j.book_id = book and j.instrument = wanted.instrument
                       and (flat.executed_at is null or j.effective_at > flat.executed_at)
                     order by j.adjustment_id, j.version desc) as c),
            'positions', (select json_agg(p) from ledger.positions p where p.book_id = book and p.position_id = any (held)),
            'lots', (select json_agg(l) from ledger.lots l where l.book_id = book and l.position_id = any (held)),
            'parked', (select json_agg(json_build_array(k.fill_id, k.reason)) from ledger.parked_fills k
                        where k.book_id = book and k.instrument = wanted.instrument));
    end loop;
    return to_json(answers);
end $$;
