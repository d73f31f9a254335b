-- What happened, newest first, a statement per kind: each gives its newest rows before a place, in the order of its index. ``uid``
-- makes an order of what happened at once. Views of other rooms, within the reader's books.

-- name: execution
-- Executions as they were known at K.
select a.executed_at as at, md5('execution' || a.book_id || a.action_id)::uuid as uid, a.book_id, a.ticker, a.position_id,
       a.action_id::text as action_id, a.version, a.action_type::text as action_type, a.direction::text as direction, a.quantity,
       a.price, a.value, a.fees, a.realized_pnl, a.currency, a.reason
  from unnest(:books::text[]) as b(book_id)
 cross join lateral (
       (select x.*
          from ledger.v_action_history as x
         where x.book_id = b.book_id and x.state = 'BOOKED' and x.known_to is null
           and x.known_from <= :known_as_of::timestamptz
           and x.executed_at >= :since::timestamptz and x.executed_at < :until::timestamptz and x.executed_at <= :after_at::timestamptz
           and (:ticker::text is null or x.ticker = :ticker::text)
           and (x.executed_at, md5('execution' || x.book_id || x.action_id)::uuid) < (:after_at::timestamptz, :after_id::uuid)
         order by x.executed_at desc, md5('execution' || x.book_id || x.action_id)::uuid desc
         limit :limit)
       union all
       (select x.*
          from ledger.v_action_history as x
         where x.book_id = b.book_id and x.state = 'BOOKED' and x.known_to > :known_as_of::timestamptz
           and x.known_from <= :known_as_of::timestamptz
           and x.executed_at >= :since::timestamptz and x.executed_at < :until::timestamptz and x.executed_at <= :after_at::timestamptz
           and (:ticker::text is null or x.ticker = :ticker::text)
           and (x.executed_at, md5('execution' || x.book_id || x.action_id)::uuid) < (:after_at::timestamptz, :after_id::uuid)
         order by x.executed_at desc, md5('execution' || x.book_id || x.action_id)::uuid desc
         limit :limit)) as a
 order by 1 desc, 2 desc
 limit :limit;

-- name: correction
-- Later versions of executions, by when they became known; a void one says that the execution is not any more.
select a.known_from as at, md5('correction' || a.book_id || a.action_id || '/' || a.version)::uuid as uid, a.book_id, a.ticker,
       a.position_id, a.action_id::text as action_id, a.version, a.state::text as state, a.action_type::text as action_type,
       a.direction::text as direction, a.quantity, a.price, a.realized_pnl, a.currency, a.cause, o.realized_pnl as realized_before
  from unnest(:books::text[]) as b(book_id)
 cross join lateral (
       select x.* from ledger.v_corrections as x
        where x.book_id = b.book_id and x.known_from >= :since::timestamptz and x.known_from < :until::timestamptz
          and x.known_from <= :known_as_of::timestamptz and x.known_from <= :after_at::timestamptz
          and (:ticker::text is null or x.ticker = :ticker::text)
          and (x.known_from, md5('correction' || x.book_id || x.action_id || '/' || x.version)::uuid)
              < (:after_at::timestamptz, :after_id::uuid)
        order by x.known_from desc, md5('correction' || x.book_id || x.action_id || '/' || x.version)::uuid desc
        limit :limit) as a
  left join ledger.v_action_history o on o.book_id = a.book_id and o.action_id = a.action_id and o.version = a.version - 1
 order by 1 desc, 2 desc
 limit :limit;

-- name: lane_move
-- Moves on the board.
select m.entered_at as at, md5('lane_move' || m.book_id || m.ticker || '/' || m.seq)::uuid as uid, m.book_id, m.ticker,
       m.from_lane::text as from_lane, m.lane::text as lane, m.reason, m.score, m.price, m.receipt_id, m.action_ids[1]::text as action_id
  from unnest(:books::text[]) as b(book_id)
 cross join lateral (
       select x.* from signal.v_moves as x
        where x.book_id = b.book_id and x.entered_at >= :since::timestamptz and x.entered_at < :until::timestamptz
          and x.entered_at <= :after_at::timestamptz and (:ticker::text is null or x.ticker = :ticker::text)
          and (x.entered_at, md5('lane_move' || x.book_id || x.ticker || '/' || x.seq)::uuid) < (:after_at::timestamptz, :after_id::uuid)
        order by x.entered_at desc, md5('lane_move' || x.book_id || x.ticker || '/' || x.seq)::uuid desc
        limit :limit) as m
 order by 1 desc, 2 desc
 limit :limit;

-- name: message
-- Messages by when they were posted.
select m.posted_at as at, md5('message' || m.channel_id || '/' || m.subject_key)::uuid as uid, m.book_id, p.symbol as ticker,
       m.position_id, m.action_id::text as action_id, m.title, m.state, m.message_id, m.message_url, m.posted_version as version
  from (select distinct channel_id from notify.v_channels) as c
 cross join lateral (
       select x.* from notify.v_messages as x
        where x.channel_id = c.channel_id and x.posted_at >= :since::timestamptz and x.posted_at < :until::timestamptz
          and x.posted_at <= :after_at::timestamptz and x.book_id = any(:books::text[])
          and (:ticker::text is null or exists (
               select from ledger.v_positions q
                where q.book_id = x.book_id and q.position_id = x.position_id and q.symbol = :ticker::text))
          and (x.posted_at, md5('message' || x.channel_id || '/' || x.subject_key)::uuid) < (:after_at::timestamptz, :after_id::uuid)
        order by x.posted_at desc, md5('message' || x.channel_id || '/' || x.subject_key)::uuid desc
        limit :limit) as m
  left join ledger.v_positions p on p.book_id = m.book_id and p.position_id = m.position_id
 order by 1 desc, 2 desc
 limit :limit;

-- name: snapshot
-- Publications that came to something, of days made of books that the reader sees.
select p.finished_at as at, md5('snapshot' || p.run_id || p.report_date)::uuid as uid, p.report_date, p.stage, p.status, p.target,
       p.version, p.run_id
  from metrics.v_publications p
  left join metrics.v_daily d on d.date = p.report_date
 where p.finished_at >= :since::timestamptz and p.finished_at < :until::timestamptz and :ticker::text is null
   and p.status not in ('unchanged', 'watched', 'busy') and p.finished_at <= :known_as_of::timestamptz
   and (p.finished_at, md5('snapshot' || p.run_id || p.report_date)::uuid) < (:after_at::timestamptz, :after_id::uuid)
   and coalesce(d.provenance->'books', '["live"]'::jsonb) <@ to_jsonb(:books::text[])
 order by 1 desc, 2 desc
 limit :limit;

-- name: sync
-- Runs of broker accounts that brought something or failed, by when they began.
select s.at, s.uid, s.book_id, s.run_id, s.source, s.state, s.error, s.rows
  from ((select r.started_at as at, md5('sync' || r.run_id || r.account_id)::uuid as uid, r.book_id, r.run_id, r.source,
                r.state::text as state, r.error_class as error, (r.counts->>'fetched_executions_count')::integer as rows
           from ibkr.v_account_runs r
          where r.book_id = any(:books::text[]) and r.started_at >= :since::timestamptz and r.started_at < :until::timestamptz
            and r.finished_at <= :known_as_of::timestamptz and :ticker::text is null
            and (r.state::text <> 'complete' or (r.counts->>'fetched_executions_count')::integer > 0)
            and (r.started_at, md5('sync' || r.run_id || r.account_id)::uuid) < (:after_at::timestamptz, :after_id::uuid)
          order by 1 desc, 2 desc
          limit :limit)
        union all
        (select l.started_at, md5('sync' || l.id)::uuid, a.book_id, l.run_id, 'mt5', l.status::text, l.error_code, l.trades_synced
           from mt5.v_account_runs l
           join mt5.v_account_states a on a.account_id = l.account_id
          where a.book_id = any(:books::text[]) and l.started_at >= :since::timestamptz and l.started_at < :until::timestamptz
            and l.completed_at <= :known_as_of::timestamptz and :ticker::text is null
            and (l.status::text <> 'success' or l.trades_synced > 0)
            and (l.started_at, md5('sync' || l.id)::uuid) < (:after_at::timestamptz, :after_id::uuid)
          order by 1 desc, 2 desc
          limit :limit)) as s
 order by 1 desc, 2 desc
 limit :limit;

-- name: replay_books
-- Books that runs have written to.
select distinct book_id from replay.v_runs;

-- name: replay
-- Runs by when they were asked for.
select r.created_at as at, md5('replay' || r.run_id)::uuid as uid, r.book_id, r.ticker, r.run_id, r.name, r.kind::text as run_kind,
       r.status::text as status, r.date_from, r.date_to, r.rows, r.error
  from replay.v_runs r
 where r.book_id = any(:books::text[]) and r.created_at >= :since::timestamptz and r.created_at < :until::timestamptz
   and (:ticker::text is null or r.ticker = :ticker::text)
   and (r.created_at, md5('replay' || r.run_id)::uuid) < (:after_at::timestamptz, :after_id::uuid)
 order by 1 desc, 2 desc
 limit :limit;
