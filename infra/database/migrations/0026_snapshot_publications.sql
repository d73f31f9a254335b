-- Room snapshot, the sending half: what every publication of a day came to, who is publishing a day now, and the bytes on their way.
--
-- The ledger of publications is what the guards, the watch and a repeated call go by, so it is never deleted from. A lease covers a
-- day whoever publishes it; it runs on real time (clock_timestamp()), because desk time may run hundreds of times faster. The bytes
-- of a day are kept from before they are sent until somebody holds them for certain. Source: snapshot specification, 4.2, 4.5, 6.

create schema if not exists metrics;

create table metrics.publications (
    run_id            uuid        not null,
    report_date       date        not null,
    seq               bigint      generated always as identity,
    slot              text,
    stage             text,
    trigger           text        not null,
    scheduled_at      timestamptz,
    started_at        timestamptz not null,
    finished_at       timestamptz,
    status            text        not null,
    target            text        not null default 'none',
    content_sha256    text,
    version           integer,
    updated_at        timestamptz(3),
    counts            jsonb,
    dropped           jsonb,
    phase_ms          jsonb       not null default '{}',
    attempts          integer     not null default 0,
    http_status       integer,
    remote_request_id text,
    verified          boolean,
    forced            text[]      not null default '{}',
    reason            text,
    actor             text        not null,
    detail            text        not null default '',
    problems          jsonb       not null default '[]',
    guards            jsonb       not null default '[]',
    watermark         jsonb,
    remembered        jsonb,
    constraint publications_pk primary key (run_id, report_date),
    constraint publications_slot check (slot in ('premarket', 'midday', 'postmarket', 'watch')),
    constraint publications_stage check (stage in ('premarket', 'intraday', 'final')),
    constraint publications_trigger check (trigger in ('cron', 'manual', 'backfill')),
    constraint publications_status check (status in (
        'sending', 'published', 'published_unverified', 'published_fallback', 'unchanged', 'watched', 'view_contract',
        'refused_guard', 'refused_validation', 'kept', 'refused_receiver', 'conflict', 'busy')),
    constraint publications_ended check ((status = 'sending') = (finished_at is null)),
    constraint publications_target check (target in ('api', 'd1', 'none')),
    constraint publications_hash check (content_sha256 ~ '^[0-9a-f]{64}$'),
    constraint publications_forced check (forced = '{}' or (reason is not null and trigger <> 'cron'))
);
comment on table metrics.publications is 'One row per day of a run that came to something: what was sent where, and how it ended. Never deleted.';
comment on column metrics.publications.status is 'sending: on its way, or its process died then; else how the day ended.';
comment on column metrics.publications.started_at is 'Desk time, as finished_at; rows of a day are ordered by seq, because a desk clock may be set back.';
comment on column metrics.publications.remembered is 'What the guards need of a good publication: counts, names, what was missing and why.';
create index publications_by_day on metrics.publications (report_date, finished_at desc);
create index publications_in_order on metrics.publications (report_date, seq desc);
create index publications_by_stage on metrics.publications (stage, report_date, seq desc)
    where status in ('published', 'published_unverified', 'published_fallback');
create index publications_by_slot on metrics.publications (scheduled_at, report_date) where scheduled_at is not null;

create table metrics.publication_leases (
    report_date date        not null,
    run_id      uuid        not null,
    token       uuid        not null,
    expires_at  timestamptz not null,
    constraint publication_leases_pk primary key (report_date)
);
comment on table metrics.publication_leases is 'Who publishes a day now: slots, people and backfills alike. Gone when it is done, free when it is over.';
comment on column metrics.publication_leases.expires_at is 'Real time until which the holder of the token alone sends this day.';

create table metrics.publication_documents (
    run_id      uuid        not null,
    report_date date        not null,
    body        bytea       not null,
    recorded_at timestamptz not null,
    constraint publication_documents_pk primary key (run_id, report_date),
    constraint publication_documents_of foreign key (run_id, report_date) references metrics.publications,
    constraint publication_documents_size check (octet_length(body) <= 8000000)
);
comment on table metrics.publication_documents is 'The bytes of a publication, to the letter, until they are verified; those that never were stay seven days.';
create index publication_documents_by_age on metrics.publication_documents (recorded_at);

create view metrics.v_publications as
    select run_id, report_date, seq, slot, stage, trigger, scheduled_at, started_at, finished_at, status, target, content_sha256,
           version, updated_at, counts, dropped, phase_ms, attempts, http_status, remote_request_id, verified, forced, reason, actor,
           detail, problems, guards, watermark
      from metrics.publications;
comment on view metrics.v_publications is 'The ledger of publications.';

grant usage on schema metrics to snapshot_reader, snapshot_writer, tracker_reader, desk_operator;
grant select on metrics.v_publications to snapshot_reader, snapshot_writer, tracker_reader, desk_operator;
grant select, insert, update on metrics.publications to snapshot_writer;
grant select, insert, update, delete on metrics.publication_leases to snapshot_writer;
grant select, insert, delete on metrics.publication_documents to snapshot_writer;
