-- Room ledger: journal (what we were told), history (what was booked), projections (what follows from both).
--
-- Journal and history are append-only by grants: INSERT and SELECT, and UPDATE of the one column superseded_at, once.
-- Projections may always be rebuilt from the journal. Rules live in Python; the constraints here are the second wall, and
-- their names are what becomes a domain error. ledger.load locks first and reads in FOLLOWING statements (under READ
-- COMMITTED a lock and a read in one statement would read what was true before the lock); ledger.apply writes one document
-- and refuses it when the book moved on since it was computed.

create type ledger.direction as enum ('LONG', 'SHORT');
create type ledger.side as enum ('BUY', 'SELL');
create type ledger.action_type as enum ('ENTRY', 'ADD_ENTRY', 'TRIM', 'EXIT');
create type ledger.row_state as enum ('BOOKED', 'VOID');
create type ledger.position_status as enum ('OPEN', 'CLOSED', 'VOID');
create type ledger.lot_method as enum ('FIFO', 'LIFO', 'HIFO', 'AVERAGE', 'SPECIFIC');

create table ledger.books (
    book_id          text              not null,
    kind             text              not null,
    tenant_id        text              not null default 'desk',
    lot_method       ledger.lot_method not null default 'FIFO',
    netting          text              not null,
    base_currency    text              not null,
    start_cash       numeric(28,8)     not null default 0,
    calendar         text              not null default 'XNYS',
    seq              bigint            not null default 0,
    chain_head       bytea             not null,
    last_recorded_at timestamptz       not null,
    created_at       timestamptz       not null,
    closed_at        timestamptz,
    closed_seq       bigint,
    constraint books_pk primary key (book_id),
    constraint books_id_form check (
        book_id ~ '^(live|(replay|ibkr):[A-Za-z0-9._~-]{1,64}|mt5:[A-Za-z0-9._~-]{1,64}:[A-Za-z0-9._~-]{1,64})$'),
    constraint books_kind_matches check (kind = split_part(book_id, ':', 1)),
    constraint books_netting check (netting in ('net', 'hedge')),
    constraint books_currency_form check (base_currency ~ '^[A-Z]{3}$'),
    constraint books_chain_form check (seq >= 0 and octet_length(chain_head) = 32),
    constraint books_closed_form check ((closed_at is null) = (closed_seq is null))
);
comment on column ledger.books.closed_seq is 'The seq at which the book was closed: a rebuild closes it at the same place.';
-- room on the page, so that an update of the row rewrites no index
alter table ledger.books set (fillfactor = 50);
comment on table ledger.books is 'A ledger of its own; seq and chain_head are the end of its chain of journal and history rows.';

create table ledger.fills (
    book_id          text           not null,
    fill_id          uuid           not null,
    version          integer        not null,
    source           text           not null,
    account_key      text           not null,
    source_id        text           not null,
    source_revision  integer        not null,
    is_bust          boolean        not null,
    instrument       text           not null,
    ticker           text           not null,
    contract_name    text           not null,
    side             ledger.side    not null,
    quantity         numeric(28,10) not null,
    price            numeric(28,10) not null,
    multiplier       numeric(20,10),
    currency         text           not null,
    fx_rate          numeric(28,12),
    fees             numeric(28,8),
    fees_currency    text,
    fees_rate        numeric(28,12),
    position_effect  text           not null,
    direction        ledger.direction,
    lot_ref          text,
    lot_picks        jsonb,
    cash_style       text           not null,
    executed_at      timestamptz    not null,
    venue_order      text collate "C" not null,
    session_date     date           not null,
    reason           text,
    meta             jsonb          not null,
    origin           text           not null,
    cause            text           not null,
    replaces_fill_id uuid,
    received_at      timestamptz    not null,
    recorded_at      timestamptz    not null,
    content_hash     bytea          not null,
    seq              bigint         not null,
    booking_seq      bigint         not null,
    prev_hash        bytea          not null,
    row_hash         bytea          not null,
    constraint fills_pk primary key (book_id, fill_id, version),
    constraint fills_seq_key unique (book_id, seq),
    constraint fills_version_positive check (version >= 1 and source_revision >= 1),
    constraint fills_source check (source in ('signal', 'ibkr', 'mt5', 'operator')),
    constraint fills_quantity_positive check (quantity > 0 and quantity <> 'NaN'),
    constraint fills_price_finite check (price <> 'NaN'),
    constraint fills_price_positive check (price > 0 or book_id ~ '^(ibkr|mt5):'),
    constraint fills_multiplier_positive check (multiplier > 0 and multiplier <> 'NaN'),
    constraint fills_currency_form check (currency ~ '^[A-Z]{3}$' and fees_currency ~ '^[A-Z]{3}$'),
    constraint fills_rates_positive check (fx_rate > 0 and fees_rate > 0),
    constraint fills_position_effect check (position_effect in ('auto', 'open', 'close')),
    constraint fills_cash_style check (cash_style in ('full', 'margin')),
    constraint fills_origin check (origin in ('live', 'history')),
    constraint fills_cause check (cause in ('first', 'revision', 'rebook', 'restatement', 'commission', 'settled', 'bust')),
    constraint fills_meta_size check (octet_length(meta::text) <= 32768)
);
comment on table ledger.fills is 'Journal: the broker-neutral facts, every version; the current one has the greatest (source_revision, is_bust, version).';
comment on column ledger.fills.meta is 'What the room wants to keep beside the figures (receipt id, lane, rule, order ref); at most 16 KiB as given.';
comment on column ledger.fills.booking_seq is 'First seq of the call that wrote this row: a rebuild replays the journal call by call.';
create index fills_by_order on ledger.fills (book_id, instrument, executed_at, venue_order, fill_id);
create index fills_by_recorded on ledger.fills (book_id, recorded_at);

create table ledger.adjustments (
    book_id       text        not null,
    adjustment_id uuid        not null,
    version       integer     not null,
    kind          text        not null,
    instrument    text        not null,
    ratio_num     integer     not null,
    ratio_den     integer     not null,
    effective_at  timestamptz not null,
    is_void       boolean     not null,
    entered_by    text        not null,
    reason        text        not null,
    recorded_at   timestamptz not null,
    seq           bigint      not null,
    booking_seq   bigint      not null,
    prev_hash     bytea       not null,
    row_hash      bytea       not null,
    constraint adjustments_pk primary key (book_id, adjustment_id, version),
    constraint adjustments_seq_key unique (book_id, seq),
    constraint adjustments_kind check (kind = 'split'),
    constraint adjustments_ratio_form check (ratio_num > 0 and ratio_den > 0)
);
comment on table ledger.adjustments is 'Journal: splits entered by an operator, never inferred; current = greatest version.';
create index adjustments_by_instrument on ledger.adjustments (book_id, instrument, effective_at);

create table ledger.positions (
    book_id            text                   not null,
    position_id        uuid                   not null,
    instrument         text                   not null,
    ticker             text                   not null,
    contract_name      text                   not null,
    direction          ledger.direction       not null,
    status             ledger.position_status not null,
    currency           text                   not null,
    multiplier         numeric(20,10),
    is_net             boolean                not null,
    cash_style         text                   not null,
    quantity_open      numeric(28,10)         not null,
    quantity_opened    numeric(28,10)         not null,
    quantity_closed    numeric(28,10)         not null,
    value_open         numeric(28,8),
    cost_basis         numeric(28,8),
    vwap               numeric(28,10),
    entry_vwap         numeric(28,10)         not null,
    exit_vwap          numeric(28,10),
    entry_notional     numeric(60,20)         not null,
    exit_notional      numeric(60,20)         not null,
    value_opened       numeric(28,8),
    value_initial      numeric(28,8),
    fees_total         numeric(28,8),
    realized_pnl       numeric(28,8),
    realized_pnl_gross numeric(28,8),
    realized_pnl_base  numeric(28,8),
    split_factor       numeric(38,18)         not null,
    opened_at          timestamptz            not null,
    last_opened_at     timestamptz            not null,
    last_action_at     timestamptz            not null,
    closed_at          timestamptz,
    first_action_id    uuid                   not null,
    action_count       integer                not null,
    open_lot_count     integer                not null,
    updated_seq        bigint                 not null,
    constraint positions_pk primary key (book_id, position_id),
    constraint positions_quantity_sum check (quantity_opened = quantity_open + quantity_closed),
    constraint positions_quantity_range check (quantity_open >= 0 and quantity_closed >= 0),
    constraint positions_closed_is_empty check (
        (status <> 'OPEN') = (quantity_open = 0) and (closed_at is not null) = (status = 'CLOSED'))
);
alter table ledger.positions set (fillfactor = 80);
comment on table ledger.positions is 'Projection: one per book, instrument and direction while OPEN; amounts in currency, quantities and vwap split-adjusted.';
comment on column ledger.positions.entry_notional is 'Exact sum of quantity * price of all openings: entry_vwap needs no scan of closed lots.';
comment on column ledger.positions.value_opened is 'Sum of value of all openings, value_initial that of the ENTRY; what a strategy that adds compares with.';
create unique index positions_one_open on ledger.positions (book_id, instrument, direction) where status = 'OPEN';
create unique index positions_one_open_net on ledger.positions (book_id, instrument) where status = 'OPEN' and is_net;
create index positions_by_opened on ledger.positions (book_id, opened_at desc, position_id);

create table ledger.lots (
    book_id           text                   not null,
    lot_id            uuid                   not null,
    position_id       uuid                   not null,
    fill_id           uuid                   not null,
    action_id         uuid                   not null,
    lot_ref           text,
    opened_at         timestamptz            not null,
    venue_order       text collate "C"       not null,
    status            ledger.position_status not null,
    quantity          numeric(28,10)         not null,
    price             numeric(28,10)         not null,
    multiplier        numeric(20,10),
    value             numeric(28,8),
    fees              numeric(28,8),
    fees_base         numeric(28,8),
    basis             numeric(28,8),
    fx_rate           numeric(28,12),
    split_factor      numeric(38,18)         not null,
    price_adjusted    numeric(28,10)         not null,
    quantity_adjusted numeric(28,10)         not null,
    quantity_open     numeric(28,10)         not null,
    value_open        numeric(28,8),
    basis_open        numeric(28,8),
    fees_base_open    numeric(28,8),
    constraint lots_pk primary key (book_id, lot_id),
    constraint lots_position_fk foreign key (book_id, position_id) references ledger.positions,
    constraint lots_open_range check (quantity_open >= 0 and quantity_open <= quantity_adjusted),
    constraint lots_closed_is_empty check ((status = 'OPEN') = (quantity_open > 0))
);
comment on table ledger.lots is 'Projection: the quantity of one opening fill at its own price, as executed and as it stands today; never deleted.';
create index lots_open on ledger.lots (book_id, position_id) where quantity_open > 0;
create index lots_by_position on ledger.lots (book_id, position_id, opened_at, venue_order, fill_id);

create table ledger.execution_actions (
    book_id                        text               not null,
    action_id                      uuid               not null,
    version                        integer            not null,
    state                          ledger.row_state   not null,
    fill_id                        uuid               not null,
    fill_seq                       bigint             not null,
    leg                            smallint           not null,
    cause                          text               not null,
    cause_seq                      bigint             not null,
    position_id                    uuid               not null,
    lot_id                         uuid,
    action_type                    ledger.action_type not null,
    instrument                     text               not null,
    ticker                         text               not null,
    direction                      ledger.direction   not null,
    side                           ledger.side        not null,
    executed_at                    timestamptz        not null,
    venue_order                    text collate "C"   not null,
    session_date                   date               not null,
    quantity                       numeric(28,10)     not null,
    price                          numeric(28,10)     not null,
    multiplier                     numeric(20,10),
    currency                       text               not null,
    value                          numeric(28,8),
    fees                           numeric(28,8),
    cash_effect                    numeric(28,8),
    realized_pnl                   numeric(28,8),
    realized_pnl_gross             numeric(28,8),
    realized_pnl_base              numeric(28,8),
    position_quantity_after        numeric(28,10)     not null,
    position_quantity_opened_after numeric(28,10)     not null,
    position_vwap_after            numeric(28,10),
    position_cost_basis_after      numeric(28,8),
    position_realized_pnl_after    numeric(28,8),
    unrealized_pnl_after           numeric(28,8),
    is_flat_after                  boolean            not null,
    reason                         text,
    meta                           jsonb              not null,
    recorded_at                    timestamptz        not null,
    superseded_at                  timestamptz,
    seq                            bigint             not null,
    booking_seq                    bigint             not null,
    prev_hash                      bytea              not null,
    row_hash                       bytea              not null,
    constraint execution_actions_pk primary key (book_id, action_id, version),
    constraint execution_actions_fill_fk foreign key (book_id, fill_seq) references ledger.fills (book_id, seq),
    constraint execution_actions_position_fk foreign key (book_id, position_id) references ledger.positions,
    constraint execution_actions_leg check (leg in (1, 2)),
    constraint execution_actions_value check (
        (value is null) = (multiplier is null) and abs(value - quantity * price * multiplier) <= 0.00000001),
    constraint execution_actions_pnl_by_type check (
        case when action_type in ('ENTRY', 'ADD_ENTRY')
             then realized_pnl is null and realized_pnl_gross is null and realized_pnl_base is null
             else realized_pnl is null or realized_pnl_gross is not null end),
    constraint execution_actions_flat_after check (
        action_type <> 'EXIT' or (position_quantity_after = 0 and position_vwap_after is null and unrealized_pnl_after is null))
);
comment on table ledger.execution_actions is 'History: every version of what was booked, with the state of the position right after; VOID keeps the last values.';
comment on column ledger.execution_actions.cause_seq is 'The journal row that made this version: the own fill, or the one whose arrival changed it.';
comment on column ledger.execution_actions.unrealized_pnl_after is 'At this action''s own price, so that it depends on fills alone.';
create unique index execution_actions_one_current on ledger.execution_actions (book_id, action_id) where superseded_at is null;
create unique index execution_actions_seq_key on ledger.execution_actions (book_id, seq);
create index execution_actions_by_position on ledger.execution_actions (book_id, position_id, executed_at, venue_order, fill_id, leg)
    where superseded_at is null and state = 'BOOKED';
create index execution_actions_by_time on ledger.execution_actions (book_id, executed_at desc, action_id)
    where superseded_at is null and state = 'BOOKED';
create index execution_actions_by_instrument on ledger.execution_actions (book_id, instrument, executed_at, venue_order, fill_id, leg)
    where superseded_at is null and state = 'BOOKED';
create index execution_actions_by_fill on ledger.execution_actions (book_id, fill_id);
create index execution_actions_by_recorded on ledger.execution_actions (book_id, recorded_at);

create table ledger.closings (
    book_id            text           not null,
    action_id          uuid           not null,
    version            integer        not null,
    lot_id             uuid           not null,
    ordinal            integer        not null,
    quantity           numeric(28,10) not null,
    lot_price          numeric(28,10) not null,
    split_factor       numeric(38,18) not null,
    close_value        numeric(28,8),
    lot_value          numeric(28,8),
    proceeds           numeric(28,8),
    lot_basis          numeric(28,8),
    realized_pnl_gross numeric(28,8),
    realized_pnl       numeric(28,8),
    realized_pnl_base  numeric(28,8),
    executed_at        timestamptz    not null,
    recorded_at        timestamptz    not null,
    constraint closings_pk primary key (book_id, action_id, version, lot_id),
    constraint closings_action_fk foreign key (book_id, action_id, version) references ledger.execution_actions,
    constraint closings_lot_fk foreign key (book_id, lot_id) references ledger.lots,
    constraint closings_quantity_positive check (quantity > 0)
);
comment on table ledger.closings is 'History: the part of a lot matched to a closing action; the only place where realized P&L is born.';
create index closings_by_lot on ledger.closings (book_id, lot_id);

create table ledger.parked_fills (
    book_id    text        not null,
    fill_id    uuid        not null,
    reason     text        not null,
    parked_at  timestamptz not null,
    instrument text        not null,
    constraint parked_fills_pk primary key (book_id, fill_id)
);
comment on table ledger.parked_fills is 'Projection: facts we hold but cannot book yet; every later booking of the instrument tries them again.';
create index parked_fills_by_instrument on ledger.parked_fills (book_id, instrument);

create table ledger.marks (
    book_id     text           not null,
    instrument  text           not null,
    bucket_at   timestamptz    not null,
    price       numeric(28,10) not null,
    bid         numeric(28,10),
    ask         numeric(28,10),
    marked_at   timestamptz    not null,
    recorded_at timestamptz    not null,
    source      text           not null,
    constraint marks_pk primary key (book_id, instrument, bucket_at),
    constraint marks_price_finite check (price <> 'NaN' and bid <> 'NaN' and ask <> 'NaN'),
    constraint marks_bucket check (
        bucket_at <= marked_at and marked_at < bucket_at + interval '5 minutes'
        and extract(epoch from bucket_at)::bigint % 300 = 0)
);
comment on table ledger.marks is 'Input, not projection: the last price seen in each 5-minute bucket; kept 2 years.';

create table ledger.reconciliations (
    book_id      text        not null,
    as_of        timestamptz not null,
    source       text        not null,
    recorded_at  timestamptz not null,
    result       text        not null,
    statement    jsonb       not null,
    breaks_found integer     not null,
    breaks_open  integer     not null,
    book_seq     bigint      not null,
    constraint reconciliations_pk primary key (book_id, source, as_of),
    constraint reconciliations_result check (result in ('matched', 'breaks', 'inconclusive'))
);
comment on table ledger.reconciliations is 'Every broker statement compared with its book, and what came of it.';

create table ledger.breaks (
    book_id       text        not null,
    break_id      uuid        not null,
    kind          text        not null,
    instrument    text        not null,
    direction     ledger.direction,
    currency      text        not null,
    first_seen_at timestamptz not null,
    last_seen_at  timestamptz not null,
    resolved_at   timestamptz,
    expected      numeric(28,10),
    actual        numeric(28,10),
    difference    numeric(28,10),
    cause         text        not null,
    note          text,
    constraint breaks_pk primary key (book_id, break_id),
    constraint breaks_kind check (kind in (
        'position_quantity', 'missing_in_book', 'missing_at_broker', 'average_price', 'cash', 'realized_pnl'))
);
comment on table ledger.breaks is 'Differences between book and broker, found and aged here alone; a repair is a fill, a revision or a split.';
create index breaks_open on ledger.breaks (book_id, first_seen_at) where resolved_at is null;

create table ledger.audits (
    book_id      text        not null,
    ran_at       timestamptz not null,
    exit         integer     not null,
    findings     jsonb       not null,
    seq          bigint      not null,
    code_version text        not null,
    constraint audits_pk primary key (book_id, ran_at)
);
comment on table ledger.audits is 'What each audit of a book found; exit 0 is clean, else 20 + the lowest failing invariant.';

create table ledger.chain_anchors (
    book_id     text        not null,
    anchored_on date        not null,
    seq         bigint      not null,
    chain_head  bytea       not null,
    recorded_at timestamptz not null,
    constraint chain_anchors_pk primary key (book_id, anchored_on)
);
comment on table ledger.chain_anchors is 'The chain''s end once a day, also posted: who rewrites hashes later is caught against it.';

-- A version is superseded once and for ever. The column grant keeps everything else out of reach.
create function ledger.superseded_once() returns trigger language plpgsql as $$
begin
    if old.superseded_at is not null then
        raise exception 'superseded_at is already set' using errcode = 'P0001', constraint = 'superseded_once';
    end if;
    return new;
end $$;
create trigger superseded_once before update of superseded_at on ledger.execution_actions
    for each row execute function ledger.superseded_once();

-- {book_id, lot_method, netting, base_currency, …} -> {is_new, book}: opens a book once; the caller compares what is there.
create function ledger.open_book(document jsonb) returns json language plpgsql volatile as $$
declare
    name constant text := document->>'book_id';
    opened boolean;
begin
    insert into ledger.books (book_id, kind, tenant_id, lot_method, netting, base_currency, start_cash, calendar,
                              chain_head, last_recorded_at, created_at)
    select name, split_part(name, ':', 1), r.tenant_id, r.lot_method, r.netting, r.base_currency, r.start_cash, r.calendar,
           sha256(convert_to('fillbook:' || name, 'UTF8')), r.now, r.now
      from jsonb_to_record(document) as r(tenant_id text, lot_method ledger.lot_method, netting text, base_currency text,
                                          start_cash numeric, calendar text, now timestamptz)
    on conflict on constraint books_pk do nothing;
    opened := found;
    return json_build_object('is_new', opened, 'book', (select to_json(b) from ledger.books b where b.book_id = name));
end $$;

-- {book_id, now}: a closed book refuses decisions and parks facts.
create function ledger.close_book(document jsonb) returns jsonb language plpgsql volatile as $$
begin
    update ledger.books b set closed_at = (document->>'now')::timestamptz, closed_seq = b.seq
     where b.book_id = document->>'book_id' and b.closed_at is null;
    return to_jsonb(found);
end $$;

-- Advisory locks on (book, instrument), ascending by their number, so that two calls never wait for each other in a ring.
create function ledger.lock_instruments(book text, instruments text[]) returns void language plpgsql volatile as $$
declare
    number bigint;
begin
    for number in
        select distinct hashtextextended(book || chr(31) || name, 7) from unnest(instruments) as name order by 1
    loop
        perform pg_advisory_xact_lock(number);
    end loop;
end $$;

-- {book_id, instruments, fill_ids, may_move, book_row, totals, session_date} -> what a booking of these is computed from.
-- One plan for all calls and never a sequential scan: a plan made while a table was still small would stay in the session
-- and grow with the table. The same holds for ledger.apply and the foreign keys that it checks.
-- may_move: a correction may take a fill to another instrument, so those the named fills stand on now are locked and
-- answered for too.
create function ledger.load(document jsonb) returns json language plpgsql volatile
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
        -- one look-up per instrument and position, whatever the planner thinks of their number: offset 0 keeps it so, and the
        -- order within names the index, also while the statistics are those of an empty table
        'positions', (
            select json_agg(p order by p.direction)
              from unnest(wanted) as name
             cross join lateral (
                   select * from ledger.positions p
                    where p.book_id = book and p.instrument = name and p.status = 'OPEN'
                    order by p.direction offset 0) as p),
        'lots', (
            select json_agg(l order by l.opened_at, l.venue_order, l.fill_id)
              from unnest(wanted) as name
             cross join lateral (
                   select p.position_id from ledger.positions p
                    where p.book_id = book and p.instrument = name and p.status = 'OPEN'
                    order by p.direction offset 0) as p
             cross join lateral (
                   select * from ledger.lots l
                    where l.book_id = book and l.position_id = p.position_id and l.quantity_open > 0
                    order by l.opened_at, l.venue_order, l.fill_id offset 0) as l),
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

-- Book-wide facts of a session date: realized and open basis per currency, open positions by direction, ENTRY actions.
create function ledger.totals(book text, day date) returns json language plpgsql volatile as $$
begin
    return json_build_object(
        'amounts', (
            select json_agg(json_build_array(
                c.currency, case when c.unknown_pnl = 0 then c.realized end, case when c.unknown_basis = 0 then c.basis end))
              from (select p.currency, sum(p.realized_pnl) as realized, count(*) filter (where p.realized_pnl is null) as unknown_pnl,
                           sum(p.cost_basis) as basis, count(*) filter (where p.cost_basis is null) as unknown_basis
                      from ledger.positions p where p.book_id = book and p.status <> 'VOID' group by p.currency) as c),
        'open', (
            select json_build_array(count(*) filter (where p.direction = 'LONG'), count(*) filter (where p.direction = 'SHORT'))
              from ledger.positions p where p.book_id = book and p.status = 'OPEN'),
        'entries', (
            select count(*) from ledger.execution_actions a
             where a.book_id = book and a.superseded_at is null and a.state = 'BOOKED' and a.action_type = 'ENTRY'
               and a.session_date = day
               and a.executed_at >= day - interval '7 days' and a.executed_at < day + interval '3 days'));
end $$;

-- {book_id, rows: [{instrument, before: [executed_at, venue_order, fill_id], fill_ids}], fills_max} -> what is stored from
-- the last flat point before each key on: current fills, splits, current actions with closings, their positions and lots.
-- VOID actions come along so that their numbering goes on.
create function ledger.load_history(document jsonb) returns json language plpgsql volatile as $$
declare
    book constant text := document->>'book_id';
    fills_max constant bigint := (document->>'fills_max')::bigint;
    wanted record;
    first record;
    flat record;
    named uuid[];
    touched uuid[];
    current_fills json;
    stored json;
    held uuid[];
    answers json[] := '{}';
begin
    for wanted in
        select r.instrument, (r.before->>0)::timestamptz as executed_at, r.before->>1 as venue_order, (r.before->>2)::uuid as fill_id,
               r.fill_ids
          from jsonb_to_recordset(document->'rows') as r(instrument text, before jsonb, fill_ids jsonb)
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
                                          > (flat.executed_at, flat.venue_order collate "C", flat.fill_id));
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
                                                   > (flat.executed_at, flat.venue_order collate "C", flat.fill_id))));
        answers := answers || json_build_object(
            'instrument', wanted.instrument,
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

-- Writes one booking: {book_id, expected_seq, seq, chain_head, recorded_at, fills, adjustments, positions_left,
-- positions, lots, superseded, actions, closings, parked, unparked, events}. The book comes first although it is counted
-- last: its row lock and its seq decide whether the document may be written at all. Positions that stop being OPEN come
-- before those that become OPEN, because a partial unique index is checked row by row.
create function ledger.apply(document jsonb) returns jsonb language plpgsql volatile
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
    if mode = 'hedge' and exists (
        select from jsonb_to_recordset(document->'fills') as r(direction ledger.direction) where r.direction is null) then
        raise exception 'a fill of a hedging book needs a direction' using errcode = '23514', constraint = 'fills_hedge_direction';
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

create function ledger.put_positions(positions jsonb) returns void language plpgsql volatile as $$
begin
    insert into ledger.positions select * from jsonb_populate_recordset(null::ledger.positions, positions)
    on conflict on constraint positions_pk do update set
        (instrument, ticker, contract_name, direction, status, currency, multiplier, is_net, cash_style, quantity_open,
         quantity_opened, quantity_closed, value_open, cost_basis, vwap, entry_vwap, exit_vwap, entry_notional, exit_notional,
         value_opened, value_initial, fees_total, realized_pnl, realized_pnl_gross, realized_pnl_base, split_factor, opened_at,
         last_opened_at, last_action_at, closed_at, first_action_id, action_count, open_lot_count, updated_seq)
      = (excluded.instrument, excluded.ticker, excluded.contract_name, excluded.direction, excluded.status, excluded.currency,
         excluded.multiplier, excluded.is_net, excluded.cash_style, excluded.quantity_open, excluded.quantity_opened,
         excluded.quantity_closed, excluded.value_open, excluded.cost_basis, excluded.vwap, excluded.entry_vwap,
         excluded.exit_vwap, excluded.entry_notional, excluded.exit_notional, excluded.value_opened, excluded.value_initial,
         excluded.fees_total, excluded.realized_pnl, excluded.realized_pnl_gross, excluded.realized_pnl_base,
         excluded.split_factor, excluded.opened_at, excluded.last_opened_at, excluded.last_action_at, excluded.closed_at,
         excluded.first_action_id, excluded.action_count, excluded.open_lot_count, excluded.updated_seq);
end $$;

-- {book_id, now, marks: [{instrument, price, bid, ask, marked_at, source}]}: one row per 5-minute bucket, later marked_at wins.
create function ledger.mark(document jsonb) returns jsonb language plpgsql volatile as $$
begin
    insert into ledger.marks as m (book_id, instrument, bucket_at, price, bid, ask, marked_at, recorded_at, source)
    select distinct on (r.instrument, bucket_at)
           document->>'book_id', r.instrument,
           to_timestamp(floor(extract(epoch from r.marked_at) / 300) * 300) as bucket_at,
           r.price, r.bid, r.ask, r.marked_at, (document->>'now')::timestamptz, r.source
      from jsonb_to_recordset(document->'marks') as r(instrument text, price numeric, bid numeric, ask numeric,
                                                      marked_at timestamptz, source text)
     order by r.instrument, bucket_at, r.marked_at desc
    on conflict on constraint marks_pk do update
       set (price, bid, ask, marked_at, recorded_at, source)
         = (excluded.price, excluded.bid, excluded.ask, excluded.marked_at, excluded.recorded_at, excluded.source)
     where excluded.marked_at > m.marked_at;
    return to_jsonb(found);
end $$;

-- Empties a replay book and sets its chain back to the beginning; raises for any other book. The only deletion of history
-- besides a rebuild, hence security definer: nobody is granted DELETE.
create function ledger.clear_replay_book(book_id text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    cleared constant text := book_id;
    purged bigint;
begin
    if cleared is null or cleared not like 'replay:%' then
        raise exception 'only replay books are cleared' using errcode = 'P0001', constraint = 'clear_replay_only';
    end if;
    update ledger.books b
       set seq = 0, chain_head = sha256(convert_to('fillbook:' || cleared, 'UTF8')), last_recorded_at = b.created_at
     where b.book_id = cleared;
    delete from ledger.closings t where t.book_id = cleared;
    delete from ledger.execution_actions t where t.book_id = cleared;
    delete from ledger.lots t where t.book_id = cleared;
    delete from ledger.positions t where t.book_id = cleared;
    get diagnostics purged = row_count;
    delete from ledger.parked_fills t where t.book_id = cleared;
    delete from ledger.fills t where t.book_id = cleared;
    delete from ledger.adjustments t where t.book_id = cleared;
    delete from ledger.marks t where t.book_id = cleared;
    delete from ledger.audits t where t.book_id = cleared;
    delete from ledger.chain_anchors t where t.book_id = cleared;
    return jsonb_build_object('positions', purged);
end $$;

-- Views: what other rooms and people may read. Quantities, lot prices and marks in today's split-adjusted units; current
-- BOOKED rows only, unless the name says history.
create view ledger.v_books as
    select book_id, tenant_id, kind, base_currency, start_cash, lot_method, netting, calendar, seq, last_recorded_at, created_at,
           closed_at
      from ledger.books;

create view ledger.v_positions as
    select p.book_id, b.tenant_id, p.position_id, p.first_action_id, p.instrument as instrument_id, p.ticker as symbol,
           p.contract_name, p.direction, p.status, p.multiplier, p.currency, p.is_net, p.cash_style, p.quantity_open,
           p.quantity_opened, p.quantity_closed, p.value_open, p.cost_basis, p.vwap, p.entry_vwap, p.exit_vwap, p.value_opened,
           p.value_initial, p.fees_total, p.realized_pnl, p.realized_pnl_gross, p.realized_pnl_base, p.split_factor, p.opened_at,
           p.last_opened_at, p.last_action_at, p.closed_at, p.action_count, p.open_lot_count
      from ledger.positions p join ledger.books b using (book_id)
     where p.status <> 'VOID';

create view ledger.v_lots as
    select l.book_id, b.tenant_id, l.lot_id, l.position_id, l.fill_id, l.action_id, l.lot_ref, l.opened_at,
           l.quantity_adjusted as quantity, l.quantity_open, l.price_adjusted as price, l.basis as cost_basis,
           l.basis_open as cost_basis_open, l.value, l.fees, l.split_factor, l.status
      from ledger.lots l join ledger.books b using (book_id)
     where l.status <> 'VOID';

create view ledger.v_actions as
    select a.book_id, b.tenant_id, a.action_id, a.version, a.fill_id, a.leg, a.position_id, a.lot_id, a.instrument as instrument_id,
           a.ticker, a.direction, a.action_type, a.side, a.executed_at, a.venue_order, a.session_date, a.recorded_at, a.quantity,
           a.price, a.value, a.fees, a.cash_effect, a.multiplier, a.currency, a.realized_pnl, a.realized_pnl_gross,
           a.realized_pnl_base, a.position_quantity_after, a.position_quantity_opened_after, a.position_vwap_after,
           a.position_cost_basis_after, a.position_realized_pnl_after, a.unrealized_pnl_after, a.is_flat_after, a.reason,
           f.origin, a.cause, a.meta, a.seq
      from ledger.execution_actions a
      join ledger.books b using (book_id)
      join ledger.fills f on f.book_id = a.book_id and f.seq = a.fill_seq
     where a.superseded_at is null and a.state = 'BOOKED';

create view ledger.v_action_history as
    select a.book_id, b.tenant_id, a.action_id, a.version, a.state, a.recorded_at as known_from, a.superseded_at as known_to,
           a.cause, a.cause_seq, a.fill_id, a.leg, a.position_id, a.lot_id, a.instrument as instrument_id, a.ticker, a.direction,
           a.action_type, a.side, a.executed_at, a.venue_order, a.session_date, a.quantity, a.price, a.value, a.fees,
           a.cash_effect, a.multiplier, a.currency, a.realized_pnl, a.realized_pnl_gross, a.realized_pnl_base,
           a.position_quantity_after, a.position_quantity_opened_after, a.position_vwap_after, a.position_cost_basis_after,
           a.position_realized_pnl_after, a.unrealized_pnl_after, a.is_flat_after, a.reason, f.origin, a.meta, a.seq
      from ledger.execution_actions a
      join ledger.books b using (book_id)
      join ledger.fills f on f.book_id = a.book_id and f.seq = a.fill_seq;

create view ledger.v_closings as
    select c.book_id, b.tenant_id, c.action_id, a.position_id, c.lot_id, c.ordinal,
           round(c.quantity * l.split_factor / c.split_factor, 10) as quantity,
           round(a.price * c.split_factor / l.split_factor, 10) as price,
           round(c.lot_price * c.split_factor / l.split_factor, 10) as lot_price,
           c.close_value, c.lot_value, c.proceeds, c.lot_basis, c.realized_pnl, c.realized_pnl_gross, c.realized_pnl_base,
           a.currency, c.executed_at
      from ledger.closings c
      join ledger.books b using (book_id)
      join ledger.execution_actions a
        on a.book_id = c.book_id and a.action_id = c.action_id and a.version = c.version
       and a.superseded_at is null and a.state = 'BOOKED'
      join ledger.lots l on l.book_id = c.book_id and l.lot_id = c.lot_id;

-- A mark taken before a split is shown in today's units. Splits are few; a product is the exponent of a sum of logarithms,
-- so only marks that a split really touches are rescaled, and these are rounded to the price step.
create view ledger.v_marks as
    select m.book_id, b.tenant_id, m.instrument as instrument_id, m.marked_at as as_of, m.recorded_at,
           case when s.scale is null then m.price else round(m.price * s.scale, 10) end as price,
           case when s.scale is null then m.bid else round(m.bid * s.scale, 10) end as bid,
           case when s.scale is null then m.ask else round(m.ask * s.scale, 10) end as ask,
           m.source
      from ledger.marks m
      join ledger.books b using (book_id)
      left join lateral (
          select exp(sum(ln(j.ratio_den::numeric(40,20) / j.ratio_num))) as scale
            from (select distinct on (adjustment_id) * from ledger.adjustments
                   where book_id = m.book_id and instrument = m.instrument
                   order by adjustment_id, version desc) as j
           where not j.is_void and j.effective_at > m.marked_at) as s on true;

create view ledger.v_parked_fills as
    select k.book_id, b.tenant_id, k.fill_id, k.reason, k.parked_at, k.instrument as instrument_id, f.ticker, f.side, f.quantity,
           f.price, f.currency, f.executed_at, f.position_effect, f.direction
      from ledger.parked_fills k
      join ledger.books b using (book_id)
      join lateral (select * from ledger.fills f where f.book_id = k.book_id and f.fill_id = k.fill_id
                     order by f.source_revision desc, f.is_bust desc, f.version desc limit 1) as f on true;

create view ledger.v_breaks as select x.*, b.tenant_id from ledger.breaks x join ledger.books b using (book_id);
create view ledger.v_reconciliations as
    select x.*, b.tenant_id from ledger.reconciliations x join ledger.books b using (book_id);
create view ledger.v_audits as select x.*, b.tenant_id from ledger.audits x join ledger.books b using (book_id);
create view ledger.v_chain_anchors as
    select x.book_id, b.tenant_id, x.anchored_on, x.seq, encode(x.chain_head, 'hex') as chain_head, x.recorded_at
      from ledger.chain_anchors x join ledger.books b using (book_id);

-- Totals per currency, never across: cash, realized, fees, market value and unrealized at the last mark, equity. A missing
-- mark or an unknown part makes a figure NULL; missing_marks names the instruments. Staleness needs a clock: the reader's.
create view ledger.v_book_totals as
    with held as (
        select p.book_id, p.currency, p.instrument, p.cash_style, p.cost_basis, p.value_open, m.price as mark,
               case when p.direction = 'LONG' then 1 else -1 end as sign,
               round(p.quantity_open * m.price * p.multiplier, 8) as worth
          from ledger.positions p
          left join lateral (
              select v.price from ledger.v_marks v where v.book_id = p.book_id and v.instrument_id = p.instrument
               order by v.as_of desc limit 1) as m on true
         where p.status = 'OPEN'
    ), open_sums as (
        select book_id, currency,
               case when bool_and(worth is not null) then sum(sign * worth) end as market_value,
               case when bool_and(worth is not null and cost_basis is not null)
                    then sum(sign * (worth - cost_basis)) end as unrealized_pnl,
               case when bool_and(worth is not null and (cash_style = 'full' or value_open is not null))
                    then sum(case when cash_style = 'full' then sign * worth else sign * (worth - value_open) end) end as in_equity,
               array_agg(distinct instrument order by instrument) filter (where mark is null) as missing_marks
          from held group by book_id, currency
    ), booked as (
        select book_id, currency,
               case when bool_and(cash_effect is not null) then sum(cash_effect) end as cash_effect,
               case when bool_and(fees is not null) then sum(fees) end as fees
          from ledger.execution_actions where superseded_at is null and state = 'BOOKED' group by book_id, currency
    ), realized as (
        select book_id, currency, case when bool_and(realized_pnl is not null) then sum(realized_pnl) end as realized_pnl
          from ledger.positions where status <> 'VOID' group by book_id, currency
    ), currencies as (
        select book_id, base_currency as currency from ledger.books
        union select book_id, currency from booked
        union select book_id, currency from realized
    )
    select c.book_id, b.tenant_id, c.currency, t.cash,
           case when r.currency is null then 0 else r.realized_pnl end as realized_pnl,
           case when k.currency is null then 0 else k.fees end as fees,
           case when o.currency is null then 0 else o.market_value end as market_value,
           case when o.currency is null then 0 else o.unrealized_pnl end as unrealized_pnl,
           t.cash + case when o.currency is null then 0 else o.in_equity end as equity,
           coalesce(o.missing_marks, '{}') as missing_marks
      from currencies c
      join ledger.books b using (book_id)
      left join booked k on k.book_id = c.book_id and k.currency = c.currency
      left join realized r on r.book_id = c.book_id and r.currency = c.currency
      left join open_sums o on o.book_id = c.book_id and o.currency = c.currency
      cross join lateral (
          select case when c.currency = b.base_currency then b.start_cash else 0 end
                 + case when k.currency is null then 0 else k.cash_effect end as cash) as t;

-- The flat shape of a position; times are epoch milliseconds. TP_HIT_TRIM is a wire value: OPEN with a TRIM.
create view ledger.v_trades as
    select p.position_id as trade_id, p.book_id, b.tenant_id, p.ticker, p.direction,
           (extract(epoch from p.opened_at) * 1000)::bigint as entry_ts,
           (extract(epoch from p.closed_at) * 1000)::bigint as exit_ts,
           (extract(epoch from trim.executed_at) * 1000)::bigint as trim_ts,
           (extract(epoch from first.created_at) * 1000)::bigint as created_at,
           (extract(epoch from latest.updated_at) * 1000)::bigint as updated_at,
           case when p.status = 'OPEN' then p.vwap else p.entry_vwap end as entry_price,
           p.quantity_open as total_qty,
           p.cost_basis,
           case when p.status = 'OPEN' then case when trim.executed_at is null then 'OPEN' else 'TP_HIT_TRIM' end
                when p.realized_pnl > 0 then 'WIN' when p.realized_pnl < 0 then 'LOSS' when p.realized_pnl = 0 then 'FLAT'
                else 'CLOSED' end as status,
           leaving.price as exit_price, leaving.reason as exit_reason, trim.price as trim_price,
           p.quantity_closed / p.quantity_opened as trimmed_pct,
           p.realized_pnl as pnl,
           round(100 * p.realized_pnl / nullif(opening.basis, 0), 10) as pnl_pct,
           first.meta->>'rank' as rank, first.meta->>'rr' as rr, first.meta->>'script_version' as script_version
      from ledger.positions p
      join ledger.books b using (book_id)
      left join lateral (
          select a.executed_at, a.price from ledger.execution_actions a
           where a.book_id = p.book_id and a.position_id = p.position_id and a.superseded_at is null and a.state = 'BOOKED'
             and a.action_type = 'TRIM'
           order by a.executed_at desc, a.venue_order desc, a.fill_id desc limit 1) as trim on true
      left join lateral (
          select a.price, a.reason from ledger.execution_actions a
           where a.book_id = p.book_id and a.position_id = p.position_id and a.superseded_at is null and a.state = 'BOOKED'
             and a.action_type = 'EXIT'
           order by a.executed_at desc, a.venue_order desc, a.fill_id desc limit 1) as leaving on true
      left join lateral (
          select max(a.recorded_at) as updated_at from ledger.execution_actions a
           where a.book_id = p.book_id and a.position_id = p.position_id and a.superseded_at is null
             and a.state = 'BOOKED') as latest on true
      left join lateral (
          select case when bool_and(l.basis is not null) then sum(l.basis) end as basis from ledger.lots l
           where l.book_id = p.book_id and l.position_id = p.position_id and l.status <> 'VOID') as opening on true
      left join lateral (
          select min(a.recorded_at) as created_at,
                 (array_agg(a.meta) filter (where a.superseded_at is null))[1] as meta
            from ledger.execution_actions a
           where a.book_id = p.book_id and a.action_id = p.first_action_id) as first on true
     where p.status <> 'VOID';

create view ledger.v_trade_events as
    select a.action_id as event_id, a.position_id as trade_id, a.book_id, b.tenant_id,
           (extract(epoch from a.executed_at) * 1000)::bigint as ts, a.action_type as type, a.price, a.quantity as qty, a.value,
           a.realized_pnl as pnl_realized, a.reason, a.meta as meta_json, a.lot_id,
           case when a.action_type in ('TRIM', 'EXIT') then (
                    select jsonb_agg(jsonb_build_object('lot_id', c.lot_id, 'qty', trim_scale(c.quantity)::text,
                                                        'price', trim_scale(c.lot_price)::text,
                                                        'pnl_realized', trim_scale(c.realized_pnl)::text) order by c.ordinal)
                      from ledger.closings c
                     where c.book_id = a.book_id and c.action_id = a.action_id and c.version = a.version)
                else jsonb_build_array(jsonb_build_object('lot_id', a.lot_id, 'qty', trim_scale(a.quantity)::text,
                                                          'price', trim_scale(a.price)::text, 'pnl_realized', null)) end as lots,
           case when a.action_type in ('TRIM', 'EXIT')
                then a.quantity / a.position_quantity_opened_after end as qty_pct_delta,
           case when a.action_type in ('TRIM', 'EXIT')
                then 1 - a.position_quantity_after / a.position_quantity_opened_after end as qty_pct_total
      from ledger.execution_actions a join ledger.books b using (book_id)
     where a.superseded_at is null and a.state = 'BOOKED';

-- Marks are input and may expire: {before, rows_max} -> deleted rows. Security definer: writers are not granted DELETE, and
-- no clock set ahead deletes what is younger than 700 days of real time.
create function ledger.purge_marks(document jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    deleted bigint;
begin
    delete from ledger.marks m where (m.book_id, m.instrument, m.bucket_at) in (
        select x.book_id, x.instrument, x.bucket_at from ledger.marks x
         where x.bucket_at < least((document->>'before')::timestamptz, clock_timestamp() - interval '700 days')
         limit (document->>'rows_max')::integer);
    get diagnostics deleted = row_count;
    return to_jsonb(deleted);
end $$;

-- Who may do what. Replay books are written by replay_writer only, all others by ledger_writer only.
do $$
declare
    name text;
begin
    foreach name in array array['books', 'fills', 'adjustments', 'positions', 'lots', 'execution_actions', 'closings',
                                'parked_fills', 'marks', 'reconciliations', 'breaks', 'audits', 'chain_anchors'] loop
        execute format('alter table ledger.%I enable row level security', name);
        execute format('create policy %I on ledger.%I for select using (true)', name || '_read', name);
        execute format('create policy %I on ledger.%I for all to ledger_writer '
                       'using (book_id not like ''replay:%%'') with check (book_id not like ''replay:%%'')', name || '_live', name);
        execute format('create policy %I on ledger.%I for all to replay_writer '
                       'using (book_id like ''replay:%%'') with check (book_id like ''replay:%%'')', name || '_replay', name);
        execute format('create policy %I on ledger.%I for all to ledger_maintenance using (true) with check (true)',
                       name || '_maintenance', name);
        execute format('grant select, insert on ledger.%I to ledger_writer, replay_writer, ledger_maintenance', name);
    end loop;
    foreach name in array array['direction', 'side', 'action_type', 'row_state', 'position_status', 'lot_method'] loop
        execute format('grant usage on type ledger.%I to ledger_reader, ledger_writer, replay_writer, ledger_maintenance, '
                       'desk_operator', name);
    end loop;
end $$;
grant usage on schema ledger to replay_writer, ledger_maintenance;
grant update (seq, chain_head, last_recorded_at, closed_at, closed_seq) on ledger.books to ledger_writer, replay_writer, ledger_maintenance;
grant update on ledger.positions, ledger.lots, ledger.parked_fills, ledger.marks, ledger.breaks
    to ledger_writer, replay_writer, ledger_maintenance;
grant update (superseded_at) on ledger.execution_actions to ledger_writer, replay_writer, ledger_maintenance;
grant delete on ledger.parked_fills to ledger_writer, replay_writer;
-- the journal too: only a rebuild that was told to accept a difference numbers it anew
grant delete on ledger.closings, ledger.execution_actions, ledger.lots, ledger.positions, ledger.parked_fills, ledger.fills,
    ledger.adjustments to ledger_maintenance;

revoke all on all functions in schema ledger from public;
grant execute on function ledger.open_book(jsonb), ledger.close_book(jsonb), ledger.lock_instruments(text, text[]), ledger.load(jsonb),
    ledger.totals(text, date), ledger.load_history(jsonb), ledger.apply(jsonb), ledger.put_positions(jsonb), ledger.mark(jsonb)
    to ledger_writer, replay_writer, ledger_maintenance;
grant execute on function ledger.clear_replay_book(text) to replay_writer;
grant execute on function ledger.purge_marks(jsonb) to ledger_writer;
grant select on ledger.v_books, ledger.v_positions, ledger.v_lots, ledger.v_actions, ledger.v_action_history, ledger.v_closings,
    ledger.v_marks, ledger.v_parked_fills, ledger.v_breaks, ledger.v_reconciliations, ledger.v_audits, ledger.v_chain_anchors,
    ledger.v_book_totals, ledger.v_trades, ledger.v_trade_events
    to ledger_reader, ledger_writer, replay_writer, tracker_reader, snapshot_reader, notify_reader, replay_reader;
grant ledger_reader, ledger_writer to desk_operator;
grant ledger_writer to replay_catch_up;

-- For ``rebuild --write`` alone (role ledger_maintenance): empty a book, then write what the journal says, in pages.
create function ledger.empty_book(document jsonb) returns jsonb language plpgsql volatile as $$
declare
    emptied constant text := document->>'book_id';
begin
    delete from ledger.closings t where t.book_id = emptied;
    delete from ledger.execution_actions t where t.book_id = emptied;
    delete from ledger.lots t where t.book_id = emptied;
    delete from ledger.positions t where t.book_id = emptied;
    delete from ledger.parked_fills t where t.book_id = emptied;
    if (document->>'with_journal')::boolean then
        delete from ledger.fills t where t.book_id = emptied;
        delete from ledger.adjustments t where t.book_id = emptied;
    end if;
    update ledger.books b
       set seq = (document->>'seq')::bigint, chain_head = (document->>'chain_head')::bytea,
           last_recorded_at = (document->>'recorded_at')::timestamptz
     where b.book_id = emptied;
    return to_jsonb(found);
end $$;

create function ledger.restore(document jsonb) returns jsonb language plpgsql volatile as $$
begin
    insert into ledger.fills select * from jsonb_populate_recordset(null::ledger.fills, document->'fills');
    insert into ledger.adjustments select * from jsonb_populate_recordset(null::ledger.adjustments, document->'adjustments');
    insert into ledger.positions select * from jsonb_populate_recordset(null::ledger.positions, document->'positions');
    insert into ledger.lots select * from jsonb_populate_recordset(null::ledger.lots, document->'lots');
    insert into ledger.execution_actions
    select * from jsonb_populate_recordset(null::ledger.execution_actions, document->'actions');
    insert into ledger.closings select * from jsonb_populate_recordset(null::ledger.closings, document->'closings');
    insert into ledger.parked_fills select * from jsonb_populate_recordset(null::ledger.parked_fills, document->'parked');
    return 'true'::jsonb;
end $$;
grant execute on function ledger.empty_book(jsonb), ledger.restore(jsonb) to ledger_maintenance;
