-- Room ledger: reconciliations as an append-only record, breaks with episodes, ages and a history of their own.
--
-- A statement compared again (its book was repaired meanwhile) is a further version of its reconciliation, never an update.
-- ledger.breaks says how a break stands; ledger.break_history holds every version of it. A break that comes back keeps its
-- id and begins a new episode. Nothing here books: repair is a fill, a revision or a split.

alter table ledger.reconciliations
    add column version         integer not null default 1,
    add column reason          text,
    add column subjects        text[]  not null default '{}',
    add column facts_hash      bytea   not null default sha256(''),
    add column breaks_resolved integer not null default 0;
alter table ledger.reconciliations
    alter column version drop default,
    alter column subjects drop default,
    alter column facts_hash drop default,
    alter column breaks_resolved drop default,
    drop constraint reconciliations_pk,
    add constraint reconciliations_pk primary key (book_id, source, as_of, version),
    add constraint reconciliations_reason check ((reason is not null) = (result = 'inconclusive'));
comment on column ledger.reconciliations.reason is 'Why a statement proved nothing: incomplete, other_account, too_old, from_the_future.';
comment on column ledger.reconciliations.subjects is 'What was compared: positions, cash/USD, realized/AMD//USD. An older statement says nothing about these any more.';
comment on column ledger.reconciliations.facts_hash is 'SHA-256 of what the broker said, without what the room knew about it.';
create index reconciliations_by_time on ledger.reconciliations (as_of);
create index reconciliations_by_book on ledger.reconciliations (book_id, as_of);

alter table ledger.breaks
    add column ticker     text        not null default '',
    add column version    integer     not null default 1,
    add column episode    integer     not null default 1,
    add column source     text        not null default 'unknown',
    add column sessions   integer     not null default 0,
    add column announced  integer     not null default 0,
    add column updated_at timestamptz not null default 'epoch';
alter table ledger.breaks
    alter column ticker drop default,
    alter column version drop default,
    alter column episode drop default,
    alter column source drop default,
    alter column sessions drop default,
    alter column announced drop default,
    alter column updated_at drop default,
    add constraint breaks_counts check (version >= 1 and episode >= 1 and sessions >= 0 and announced in (0, 2, 5)),
    add constraint breaks_seen_order check (last_seen_at >= first_seen_at and resolved_at >= last_seen_at),
    add constraint breaks_direction_by_kind check (kind <> 'cash' or (direction is null and instrument = '')),
    add constraint breaks_difference check (
        (difference is null) = (expected is null or actual is null) and difference = actual - expected),
    add constraint breaks_note_length check (length(note) <= 1000);
comment on column ledger.breaks.episode is 'A break that was resolved and comes back begins a new episode; first_seen_at is that of the episode.';
comment on column ledger.breaks.sessions is 'Age: whole sessions of the book''s calendar since first_seen_at, as of the last look.';
comment on column ledger.breaks.announced is 'The age at which break_found was last told: 0, 2 or 5 sessions.';

create table ledger.break_history (
    book_id       text        not null,
    break_id      uuid        not null,
    version       integer     not null,
    episode       integer     not null,
    kind          text        not null,
    instrument    text        not null,
    direction     ledger.direction,
    currency      text        not null,
    ticker        text        not null,
    first_seen_at timestamptz not null,
    last_seen_at  timestamptz not null,
    resolved_at   timestamptz,
    expected      numeric(28,10),
    actual        numeric(28,10),
    difference    numeric(28,10),
    cause         text        not null,
    note          text,
    source        text        not null,
    sessions      integer     not null,
    announced     integer     not null,
    recorded_at   timestamptz not null,
    constraint break_history_pk primary key (book_id, break_id, version),
    constraint break_history_break_fk foreign key (book_id, break_id) references ledger.breaks
);
comment on table ledger.break_history is 'Every version of every break: found, changed, told again, noted, resolved, back; append-only.';

-- {reconciliation, breaks, history, events}: writes what one comparison, one day's ageing or one note made of the breaks of
-- a book. The caller holds the book's row, so versions cannot race.
create function ledger.follow_breaks(document jsonb) returns jsonb language plpgsql volatile as $$
begin
    if document ? 'reconciliation' then
        insert into ledger.reconciliations (book_id, as_of, source, version, recorded_at, result, reason, statement, subjects,
                                            facts_hash, breaks_found, breaks_open, breaks_resolved, book_seq)
        select r.book_id, r.as_of, r.source, r.version, r.recorded_at, r.result, r.reason, r.statement,
               array(select jsonb_array_elements_text(document->'reconciliation'->'subjects')),
               decode(document->'reconciliation'->>'facts_hash', 'hex'), r.breaks_found, r.breaks_open, r.breaks_resolved,
               r.book_seq
          from jsonb_to_record(document->'reconciliation') as r(
               book_id text, as_of timestamptz, source text, version integer, recorded_at timestamptz, result text,
               reason text, statement jsonb, breaks_found integer, breaks_open integer, breaks_resolved integer,
               book_seq bigint);
    end if;
    insert into ledger.breaks select * from jsonb_populate_recordset(null::ledger.breaks, document->'breaks')
    on conflict on constraint breaks_pk do update set
        (ticker, first_seen_at, last_seen_at, resolved_at, expected, actual, difference, cause, note, version, episode, source,
         sessions, announced, updated_at)
      = (excluded.ticker, excluded.first_seen_at, excluded.last_seen_at, excluded.resolved_at, excluded.expected, excluded.actual,
         excluded.difference, excluded.cause, excluded.note, excluded.version, excluded.episode, excluded.source,
         excluded.sessions, excluded.announced, excluded.updated_at);
    insert into ledger.break_history select * from jsonb_populate_recordset(null::ledger.break_history, document->'history');
    if document ? 'events' then
        perform outbox.enqueue(document->'events');
    end if;
    return to_jsonb(jsonb_array_length(document->'breaks'));
end $$;

create or replace view ledger.v_breaks as
    select x.book_id, x.break_id, x.kind, x.instrument, x.direction, x.currency, x.first_seen_at, x.last_seen_at, x.resolved_at,
           x.expected, x.actual, x.difference, x.cause, x.note, b.tenant_id, x.version, x.episode, x.source, x.sessions,
           x.announced, x.updated_at, x.ticker
      from ledger.breaks x join ledger.books b using (book_id);
create or replace view ledger.v_reconciliations as
    select x.book_id, x.as_of, x.source, x.recorded_at, x.result, x.statement, x.breaks_found, x.breaks_open, x.book_seq,
           b.tenant_id, x.version, x.reason, x.subjects, x.breaks_resolved, x.facts_hash
      from ledger.reconciliations x join ledger.books b using (book_id);
create view ledger.v_break_history as
    select x.*, b.tenant_id from ledger.break_history x join ledger.books b using (book_id);

-- Who may do what: as with every table of a book. A replay book has no broker, so replay_writer writes none of these.
alter table ledger.break_history enable row level security;
create policy break_history_read on ledger.break_history for select using (true);
create policy break_history_live on ledger.break_history for all to ledger_writer
    using (book_id not like 'replay:%') with check (book_id not like 'replay:%');
create policy break_history_maintenance on ledger.break_history for all to ledger_maintenance using (true) with check (true);
grant select, insert on ledger.break_history to ledger_writer, ledger_maintenance;
revoke update on ledger.breaks from ledger_writer, replay_writer, ledger_maintenance;
grant update (ticker, first_seen_at, last_seen_at, resolved_at, expected, actual, difference, cause, note, version, episode, source,
              sessions, announced, updated_at) on ledger.breaks to ledger_writer, ledger_maintenance;
revoke insert on ledger.breaks, ledger.reconciliations from replay_writer;
grant execute on function ledger.follow_breaks(jsonb) to ledger_writer;
grant select on ledger.v_break_history
    to ledger_reader, ledger_writer, replay_writer, tracker_reader, snapshot_reader, notify_reader, replay_reader;
