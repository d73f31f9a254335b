-- name: lease_take
-- take the lease of a day, when it is free or over; one row when it is ours now
insert into metrics.publication_leases as held (report_date, run_id, token, expires_at)
values (:report_date, :run_id::uuid, :token::uuid, clock_timestamp() + make_interval(secs => :seconds::integer))
on conflict on constraint publication_leases_pk do update
   set run_id = excluded.run_id, token = excluded.token, expires_at = excluded.expires_at
 where held.expires_at <= clock_timestamp()
returning held.token;

-- name: lease_renew
-- prolong a lease that nobody has taken over meanwhile; one row when it is still ours
update metrics.publication_leases
   set expires_at = clock_timestamp() + make_interval(secs => :seconds::integer)
 where report_date = :report_date and token = :token::uuid
returning token;

-- name: lease_release
-- give a lease back
delete from metrics.publication_leases where report_date = :report_date and token = :token::uuid;

-- name: settled_before
-- whether this scheduled call has already ended well for this day
select exists (
    select from metrics.publications
     where scheduled_at = :scheduled_at and report_date = :report_date and slot is not distinct from :slot::text
       and status = any(:settled::text[])) as is_settled;

-- name: last_sent
-- the newest publication of a day that sent anything, however it ended
select status, target, content_sha256, verified, version
  from metrics.publications
 where report_date = :report_date and status = any(:sent::text[])
 order by seq desc
 limit 1;

-- name: last_good
-- the newest publication of a day that readers show
select stage, version, content_sha256, updated_at, watermark, remembered
  from metrics.publications
 where report_date = :report_date and status = any(:good::text[])
 order by seq desc
 limit 1;

-- name: recent_good
-- the last good publication at a stage of each session in a span, the youngest session first
select distinct on (report_date) report_date, remembered
  from metrics.publications
 where stage = :stage and report_date >= :since and report_date < :before and status = any(:good::text[])
   and remembered is not null
 order by report_date desc, seq desc;

-- name: has_stage
-- whether readers show a day at this stage
select exists (
    select from metrics.publications
     where report_date = :report_date and stage = :stage and status = any(:good::text[])) as is_there;

-- name: unsettled
-- days that may stand in parts: torn past the API, or sent by nobody knows how far; whole again with the next good publication
select report_date
  from metrics.publications as p
 where report_date between :since and :until and (is_torn or status = :sending)
   and not exists (
       select from metrics.publications as later
        where later.report_date = p.report_date and later.seq > p.seq and later.status = any(:whole::text[]))
   and not exists (
       select from metrics.publication_leases as held
        where held.report_date = p.report_date and held.expires_at > clock_timestamp())
 group by report_date
 order by report_date;

-- name: expected_kpis
-- names of the catalog
select kpi_name from metrics.kpi_catalog order by sort_order;

-- name: late_actions
-- actions of the published books within a window that were recorded after an instant, oldest first
select action_id, book_id, action_type::text as action_type, ticker as symbol, executed_at, recorded_at, quantity, price, realized_pnl
  from ledger.v_actions
 where book_id = any(:books::text[]) and executed_at >= :since and executed_at < :until and recorded_at > :after
 order by recorded_at, seq
 limit :limit;

-- name: record
-- write what a publication has come to so far; a later word on the same run and day replaces it
insert into metrics.publications as kept (
    run_id, report_date, slot, stage, trigger, scheduled_at, started_at, finished_at, status, target, content_sha256, version,
    updated_at, counts, dropped, phase_ms, attempts, http_status, remote_request_id, verified, is_torn, forced, reason, actor,
    detail, problems, guards, watermark, remembered)
select run_id, report_date, slot, stage, trigger, scheduled_at, started_at, finished_at, status, target, content_sha256, version,
       updated_at, counts, dropped, phase_ms, attempts, http_status, remote_request_id, verified, is_torn, forced, reason, actor,
       detail, problems, guards, watermark, remembered
  from jsonb_to_record(:row::jsonb) as r(
       run_id uuid, report_date date, slot text, stage text, trigger text, scheduled_at timestamptz, started_at timestamptz,
       finished_at timestamptz, status text, target text, content_sha256 text, version integer, updated_at timestamptz,
       counts jsonb, dropped jsonb, phase_ms jsonb, attempts integer, http_status integer, remote_request_id text,
       verified boolean, is_torn boolean, forced text[], reason text, actor text, detail text, problems jsonb, guards jsonb, watermark jsonb,
       remembered jsonb)
on conflict on constraint publications_pk do update
   set stage = excluded.stage, finished_at = excluded.finished_at, status = excluded.status, target = excluded.target,
       content_sha256 = excluded.content_sha256, version = excluded.version, updated_at = excluded.updated_at,
       counts = excluded.counts, dropped = excluded.dropped, phase_ms = excluded.phase_ms, attempts = excluded.attempts,
       http_status = excluded.http_status, remote_request_id = excluded.remote_request_id, verified = excluded.verified,
       is_torn = excluded.is_torn, detail = excluded.detail, problems = excluded.problems, guards = excluded.guards, watermark = excluded.watermark,
       remembered = excluded.remembered;

-- name: keep_bytes
-- keep the bytes that are about to be sent
insert into metrics.publication_documents (run_id, report_date, body, recorded_at)
values (:run_id::uuid, :report_date, :body::bytea, :recorded_at)
on conflict on constraint publication_documents_pk do nothing;

-- name: forget_bytes
-- drop the bytes of a publication that is verified, and what was kept for longer than it may be
delete from metrics.publication_documents
 where (run_id = :run_id::uuid and report_date = :report_date and :is_verified) or recorded_at < :kept_since;
