-- Statements of room replay. Receipts, decisions and books of others are read through views; what a run writes in the rooms below
-- goes through their own functions.

-- name: run_insert
-- A new run; nothing when the id or the name is taken.
insert into replay.run_records (run_id, name, kind, book_id, date_from, date_to, ticker, script_version, session, inputs,
                                start_from, facts, profile, config, config_digest, code_version, status, gaps, parent_run_id,
                                created_by, created_at)
values (:run_id::uuid, :name, :kind::replay.run_kind, :book_id, :date_from, :date_to, :ticker, :script_version, :session, :inputs,
        :start_from, :facts, :profile, :config::jsonb, :config_digest, :code_version, :status::replay.run_status, :gaps::jsonb,
        :parent_run_id::uuid, :created_by, :created_at)
on conflict do nothing;

-- name: run_found
-- One run by its id or its name.
select r.*, r.config::text as config_text, r.open_bucket::text as open_text, r.gaps::text as gaps_text
  from replay.run_records r
 where r.run_id = :run_id::uuid or r.name = :name;

-- name: run_locked
-- One run under its row lock, unless somebody holds that or a lease; leases run on real time.
select r.*, r.config::text as config_text, r.open_bucket::text as open_text, r.gaps::text as gaps_text
  from replay.run_records r
 where r.run_id = :run_id::uuid
   and (r.lease_until is null or r.lease_until <= clock_timestamp() or r.lease_token = :token::uuid)
   for update skip locked;

-- name: run_owned
-- One run under its row lock, for the holder of its lease alone; waits for whoever reads or cancels it.
select r.*, r.config::text as config_text, r.open_bucket::text as open_text, r.gaps::text as gaps_text
  from replay.run_records r
 where r.run_id = :run_id::uuid and r.lease_token = :token::uuid
   for update;

-- name: run_put
-- Where a run stands now; the holder of a lease keeps it for as long again.
update replay.run_records
   set status = :status::replay.run_status, cursor = :cursor, open_bucket = :open_bucket::jsonb, rows = :rows,
       conflicts = :conflicts, trades_created = :trades_created, trades_purged = :trades_purged, input_digest = :input_digest,
       result_hash = :result_hash, state_hash = :state_hash, ticker_pass = :ticker_pass, pass_ticker = :pass_ticker,
       pass_cursor = :pass_cursor, accepted_code = :accepted_code, code_version = :code_version, error = :error,
       earlier = :earlier::jsonb, gaps = :gaps::jsonb, started_at = coalesce(started_at, :now), finished_at = :finished_at,
       wall_seconds = wall_seconds + :seconds::numeric,
       lease_until = case when lease_token is not null and lease_token = :token::uuid
                          then clock_timestamp() + make_interval(secs => :lease_seconds::double precision) else lease_until end
 where run_id = :run_id::uuid;

-- name: run_claimed
-- The oldest run that waits for a task, leased; one whose task died counts as waiting when its lease is over.
update replay.run_records r
   set status = 'running', attempts = r.attempts + 1, lease_token = :token::uuid,
       lease_until = clock_timestamp() + make_interval(secs => :lease_seconds::double precision)
 where r.run_id = (select w.run_id from replay.run_records w
                    where w.status in ('planned', 'running') and w.attempts < :attempts_max
                      and (w.lease_until is null or w.lease_until <= clock_timestamp())
                    order by w.created_at, w.run_id limit 1 for update skip locked)
returning r.run_id;

-- name: run_released
-- The end of a lease.
update replay.run_records set lease_token = null, lease_until = null where run_id = :run_id::uuid and lease_token = :token::uuid;

-- name: run_given_up
-- Runs that died in the hands of so many tasks that nobody tries again.
update replay.run_records
   set status = 'failed', error = 'attempts_used', finished_at = :now, lease_token = null, lease_until = null
 where status = 'running' and attempts >= :attempts_max and lease_until <= clock_timestamp();

-- name: run_queued
-- A run that stands still waits for a task again.
update replay.run_records
   set status = 'planned', mode = :mode, attempts = 0, finished_at = null, error = null
 where run_id = :run_id::uuid and status not in ('planned', 'running');

-- name: run_mode
-- How a run is walked from here on.
update replay.run_records set mode = :mode where run_id = :run_id::uuid;

-- name: run_cancelled
-- Stop after the page under way.
update replay.run_records set status = 'cancelled', finished_at = :now
 where run_id = :run_id::uuid and status in ('planned', 'running', 'paused');

-- name: run_pinned
-- Keep a run whatever its age and number, or no longer.
update replay.run_records set pinned = :pinned::boolean where run_id = :run_id::uuid;

-- name: run_deleted
-- The record goes last; checkpoints go with it.
delete from replay.run_records where run_id = :run_id::uuid;

-- name: runs_listed
-- Runs, the youngest first, from a place on.
select v.* from replay.v_runs v
 where :before_at::timestamptz is null or (v.created_at, v.run_id) < (:before_at::timestamptz, :before_id::uuid)
 order by v.created_at desc, v.run_id desc limit :rows_max::integer;

-- name: runs_active
-- How many runs are worked or wait for it.
select count(*) as n from replay.run_records where status in ('planned', 'running') and kind <> 'catch_up';

-- name: runs_walking
-- How many runs are in the hands of a task of the job that lives.
select count(*) as n from replay.run_records where status = 'running' and lease_until > clock_timestamp();

-- name: runs_expired
-- Unpinned runs that nobody works on: all but the youngest, and those that are too old.
select r.run_id from (
    select run_id, created_at, row_number() over (order by created_at desc, run_id desc) as place
      from replay.run_records where not pinned and kind <> 'catch_up' and status not in ('planned', 'running')) as r
 where r.place > :kept_max::integer or r.created_at < :before::timestamptz
 order by r.created_at limit :rows_max::integer;

-- name: checkpoints_put
-- Checkpoints of a page; a bucket that was decided again has a new one.
insert into replay.checkpoints (run_id, bucket, rows, conflicts, actions, input_digest, bucket_hash, state_digest, result_hash,
                                states, recorded_at)
select r.run_id, r.bucket, r.rows, r.conflicts, r.actions, r.input_digest, r.bucket_hash, r.state_digest, r.result_hash,
       decode(r.states, 'hex'), r.recorded_at
  from jsonb_to_recordset(:rows::jsonb) as r(run_id uuid, bucket bigint, rows integer, conflicts integer, actions integer,
                                             input_digest text, bucket_hash text, state_digest text, result_hash text,
                                             states text, recorded_at timestamptz)
on conflict on constraint checkpoints_pk do update
   set (rows, conflicts, actions, input_digest, bucket_hash, state_digest, result_hash, states, recorded_at)
     = (excluded.rows, excluded.conflicts, excluded.actions, excluded.input_digest, excluded.bucket_hash, excluded.state_digest,
        excluded.result_hash, excluded.states, excluded.recorded_at);

-- name: checkpoints_of
-- All checkpoints of a run in order, without their states.
select bucket, rows, conflicts, actions, input_digest, bucket_hash, state_digest, result_hash
  from replay.checkpoints where run_id = :run_id::uuid order by bucket;

-- name: checkpoint_before
-- The last checkpoint before a bucket, with its states.
select * from replay.checkpoints where run_id = :run_id::uuid and bucket < :bucket::bigint order by bucket desc limit 1;

-- name: checkpoints_cut
-- Checkpoints from a bucket on go.
delete from replay.checkpoints where run_id = :run_id::uuid and bucket >= :bucket::bigint;

-- name: checkpoints_rehashed
-- The run's hash moved before these buckets.
update replay.checkpoints c set result_hash = r.result_hash
  from jsonb_to_recordset(:rows::jsonb) as r(bucket bigint, result_hash text)
 where c.run_id = :run_id::uuid and c.bucket = r.bucket;

-- name: input_keys
-- Places of the scope's next receipts, without what they say; one more than wanted tells whether there are more.
select i.receipt_id, i.ticker, i.ts, i.received_at
  from signal.v_inputs i
 where i.bucket_5m >= :since and i.bucket_5m < :until and i.ts >= :since and i.ts < :until
   and (i.bucket_5m, i.ts, i.ticker, i.received_at, i.receipt_id)
     > (:bucket::timestamptz, :ts::timestamptz, :ticker_after::text, :received_at::timestamptz, :receipt_id::uuid)
   and (:ticker::text is null or i.ticker = :ticker) and (:script_version = '*' or i.script_version = :script_version)
   and (:inputs = 'all'
        or (:inputs = 'as_decided' and exists (select from signal.v_decisions d
                                                where d.book_id = 'live' and d.ticker = i.ticker and d.ts = i.ts
                                                  and d.receipt_id = i.receipt_id))
        or (:inputs = 'undecided' and i.result = 'stale'
            and not exists (select from signal.v_decisions d where d.book_id = 'live' and d.ticker = i.ticker and d.ts >= i.ts)))
 order by i.bucket_5m, i.ts, i.ticker, i.received_at, i.receipt_id
 limit :rows_max::integer;

-- name: inputs_next
-- The scope's next receipts in the order of a run, with what the rules read of each, as texts.
select i.receipt_id, i.ticker, i.ts, i.received_at, i.payload_hash, i.decision_input
  from signal.v_inputs i
 where i.bucket_5m >= :since and i.bucket_5m < :until and i.ts >= :since and i.ts < :until
   and (i.bucket_5m, i.ts, i.ticker, i.received_at, i.receipt_id)
     > (:bucket::timestamptz, :ts::timestamptz, :ticker_after::text, :received_at::timestamptz, :receipt_id::uuid)
   and (:ticker::text is null or i.ticker = :ticker) and (:script_version = '*' or i.script_version = :script_version)
   and (:inputs = 'all'
        or (:inputs = 'as_decided' and exists (select from signal.v_decisions d
                                                where d.book_id = 'live' and d.ticker = i.ticker and d.ts = i.ts
                                                  and d.receipt_id = i.receipt_id))
        or (:inputs = 'undecided' and i.result = 'stale'
            and not exists (select from signal.v_decisions d where d.book_id = 'live' and d.ticker = i.ticker and d.ts >= i.ts)))
 order by i.bucket_5m, i.ts, i.ticker, i.received_at, i.receipt_id
 limit :rows_max::integer;

-- name: input_bodies
-- Bodies of named receipts: their decision inputs are of another schema version.
select r.receipt_id, r.payload from signal.v_receipts r
 where r.receipt_id = any (:ids::uuid[]) and r.ts >= :since and r.ts <= :until;

-- name: input_buckets
-- Rows and input digest of every bucket of the scope that holds any.
select (extract(epoch from i.bucket_5m) * 1000)::bigint as bucket, count(*) as rows,
       encode(sha256(string_agg(uuid_send(i.receipt_id), ''::bytea order by i.ts, i.ticker, i.received_at, i.receipt_id)), 'hex')
           as digest
  from signal.v_inputs i
 where i.bucket_5m >= :since and i.bucket_5m < :until and i.ts >= :since and i.ts < :until
   and (:ticker::text is null or i.ticker = :ticker) and (:script_version = '*' or i.script_version = :script_version)
   and (:inputs = 'all' or exists (select from signal.v_decisions d
                                    where d.book_id = 'live' and d.ticker = i.ticker and d.ts = i.ts
                                      and d.receipt_id = i.receipt_id))
 group by i.bucket_5m order by i.bucket_5m;

-- name: recorded_facts
-- The account facts that live's limits saw on named receipts.
select d.receipt_id, d.account::text as account
  from signal.v_decisions d
 where d.book_id = 'live' and d.receipt_id = any (:ids::uuid[]) and d.ts >= :since and d.ts <= :until and d.account is not null;

-- name: recorded_profiles
-- The profiles under which live decided named receipts.
select d.receipt_id, d.profile, d.config_digest
  from signal.v_decisions d
 where d.book_id = 'live' and d.receipt_id = any (:ids::uuid[]) and d.ts >= :since and d.ts <= :until;

-- name: acting_receipts
-- Receipts of a book that led to actions, from an instant on; of one ticker or all.
select d.receipt_id from signal.v_decisions d
 where d.book_id = :book_id and d.action_ids <> '{}' and d.ts >= :since and (:ticker::text is null or d.ticker = :ticker);

-- name: actions_by_place
-- Receipts of a book that led to actions, in the order of a run.
select d.ts, d.ticker, d.receipt_id from signal.v_decisions d
 where d.book_id = :book_id and d.action_ids <> '{}' order by d.ts, d.ticker;

-- name: sectors_of
-- The sector of every position a book ever planned.
select p.position_id::text as position_id, p.sector from signal.v_plans p where p.book_id = :book_id;

-- name: prices_of
-- Confirmed prices of one ticker in a book, in order.
select d.ts, d.trace->'inputs'->>'price' as price from signal.v_decisions d
 where d.book_id = :book_id and d.ticker = :ticker and not 'price_unconfirmed' = any (d.badges) order by d.ts;

-- name: decided_count
-- How many receipts a book decided from an instant on; of one ticker or all.
select count(*) as n from signal.v_decisions d
 where d.book_id = :book_id and d.ts >= :since and (:ticker::text is null or d.ticker = :ticker);

-- name: plans_now
-- How named plans of a book stand now.
select p.position_id::text as position_id, p.stop, p.tiers_taken, p.adds, p.cycles_used, p.closed_at, p.close_reason
  from signal.v_plans p where p.book_id = :book_id and p.position_id = any (:ids::uuid[]);

-- name: marks_kept
-- Marks of a book outside a stretch that is decided again; the one right at its end belongs to it.
select m.instrument_id as instrument, m.price, m.bid, m.ask, m.as_of as marked_at, m.source
  from ledger.v_marks m
 where m.book_id = :book_id and (m.as_of <= :since or m.as_of > :until or (:ticker::text is not null and m.instrument_id <> :ticker));

-- name: decisions_in
-- How many decisions each ticker has in a stretch of a book.
select d.ticker, count(*) as n from signal.v_decisions d
 where d.book_id = :book_id and d.ts >= :since and d.ts < :until group by d.ticker;

-- name: checkpoint_states
-- Checkpoints from a bucket on, with their states.
select bucket, states from replay.checkpoints where run_id = :run_id::uuid and bucket >= :bucket::bigint order by bucket;

-- name: checkpoint_restated
-- The same states under other counts of decisions.
update replay.checkpoints set states = decode(:states, 'hex') where run_id = :run_id::uuid and bucket = :bucket::bigint;

-- name: live_states
-- How every ticker stood in the live book before a session date: as kept by its first decision from then on, else as it stands.
select coalesce(n.ticker, s.ticker) as ticker, case when n.ticker is null then s.state else n.state end::text as state,
       case when n.ticker is not null then n.plan::text
            else (select to_jsonb(p)::text from signal.v_plans p
                   where p.book_id = 'live' and p.ticker = s.ticker and p.closed_at is null) end as plan
  from (select distinct on (v.ticker) v.ticker, v.state, v.plan from signal.v_snapshots v
         where v.book_id = 'live' and v.session_date >= :day order by v.ticker, v.session_date) as n
  full join (select * from signal.v_states where book_id = 'live') as s using (ticker)
 order by 1;

-- name: live_fills
-- Fills before a session date of the live positions that were open when it began, in booking order.
with held as (
    select distinct on (a.position_id) a.position_id, a.position_quantity_after
      from ledger.v_actions a where a.book_id = 'live' and a.session_date < :day
     order by a.position_id, a.executed_at desc, a.venue_order desc, a.fill_id desc, a.leg desc)
select a.fill_id
  from held join ledger.v_actions a on a.book_id = 'live' and a.position_id = held.position_id and a.session_date < :day
 where held.position_quantity_after > 0
 order by a.executed_at, a.venue_order, a.fill_id;

-- name: live_equity
-- Start cash and realized P&L of the live book before a session date.
select b.start_cash + coalesce((select sum(a.realized_pnl) from ledger.v_actions a
                                 where a.book_id = 'live' and a.session_date < :day), 0) as equity
  from ledger.v_books b where b.book_id = 'live';

-- name: realized_by
-- What named fills realized in the live book.
select coalesce(sum(a.realized_pnl), 0) as realized
  from ledger.v_actions a where a.book_id = 'live' and a.fill_id = any (:ids::uuid[]);

-- name: live_last_decision
-- When live last decided anything, by the time of recording.
select max(f.updated_at) as at from signal.v_freshness f where f.book_id = 'live';

-- name: entries_of
-- How many positions a book opened with named fills.
select count(*) as n from ledger.v_actions a
 where a.book_id = :book_id and a.action_type = 'ENTRY' and a.fill_id = any (:ids::uuid[]);
