-- A day that was left in parts says so, until it is published whole. Source: snapshot specification, 4.7; decision 0050.

alter table metrics.publications add column is_torn boolean not null default false;
comment on column metrics.publications.is_torn is
    'Past the API its readers may have been left parts of this day beside parts of another: a database that is no transaction, or nobody could look.';
create index publications_in_parts on metrics.publications (report_date, seq) where is_torn or status = 'sending';

create or replace view metrics.v_publications as
    select run_id, report_date, seq, slot, stage, trigger, scheduled_at, started_at, finished_at, status, target, content_sha256,
           version, updated_at, counts, dropped, phase_ms, attempts, http_status, remote_request_id, verified, forced, reason, actor,
           detail, problems, guards, watermark, is_torn
      from metrics.publications;
