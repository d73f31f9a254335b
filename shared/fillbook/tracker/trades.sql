-- Positions and their executions as they are now, views of other rooms only; another moment is the ledger's to tell.

-- name: positions
-- Positions with activity in a range, newest entry first, after a place; book by book along their order, then the first of all.
-- What no index tells stands in a coalesce: the planner then takes it for true of every other row, and walks in the page's order
-- instead of putting in order what it takes for few.
with page as (
    select found.*
      from unnest(:books::text[]) as wanted(book_id)
     cross join lateral (
         select p.* from ledger.v_positions p
          where p.book_id = wanted.book_id
            and (:after_at::timestamptz is null
                 or ((p.opened_at, p.position_id) <= (:after_at::timestamptz, :after_id::uuid)
                     and (p.opened_at, p.position_id, p.book_id) < (:after_at::timestamptz, :after_id::uuid, :after_book::text)))
            and (:ticker::text is null or p.symbol = :ticker::text)
            and (:direction::text is null or coalesce(p.direction::text = :direction::text, false))
            and (:status::text <> 'open' or p.status = 'OPEN')
            and (:status::text <> 'closed' or coalesce(p.status = 'CLOSED', false))
            and (:outcome::text is null
                 or coalesce(p.status = 'CLOSED'
                             and :outcome::text = case when p.realized_pnl > 0 then 'win' when p.realized_pnl < 0 then 'loss'
                                                       when p.realized_pnl = 0 then 'flat' else 'pending' end, false))
            and (:min_pnl::numeric is null or coalesce(p.realized_pnl >= :min_pnl::numeric, false))
            and (:max_pnl::numeric is null or coalesce(p.realized_pnl <= :max_pnl::numeric, false))
            and (:within_positions::uuid[] is null or p.position_id = any(:within_positions::uuid[]))
            and (:within_positions::uuid[] is null
                 or (p.book_id, p.position_id) in (select * from unnest(:within_books::text[], :within_positions::uuid[])))
            and (:lane::text is null or exists (
                 select from signal.v_board s
                  where s.book_id = p.book_id and s.ticker = p.instrument_id and s.lane::text = :lane::text and p.status = 'OPEN'))
            -- its first action was its entry and its last one is known, so that only one that spans the range is looked into
            and (:since::timestamptz is null or coalesce(p.last_action_at >= :since::timestamptz, false))
            and (:until::timestamptz is null or p.opened_at < :until::timestamptz)
            and (:since::timestamptz is null or :until::timestamptz is null
                 or coalesce(p.opened_at >= :since::timestamptz or p.last_action_at < :until::timestamptz, false)
                 or exists (select from ledger.v_actions a
                             where a.book_id = p.book_id and a.position_id = p.position_id
                               and a.executed_at >= :since::timestamptz and a.executed_at < :until::timestamptz offset 0))
            and (:reason::text is null
                 or exists (select from ledger.v_actions a
                             where a.book_id = p.book_id and a.position_id = p.position_id and a.reason = :reason::text offset 0))
          order by p.opened_at desc, p.position_id desc
          limit :limit) as found
     order by found.opened_at desc, found.position_id desc, found.book_id desc
     limit :limit
), lots_of_page as (
    select l.lot_id from page p join ledger.v_lots l on l.book_id = p.book_id and l.position_id = p.position_id
)
select p.position_id, p.book_id, p.instrument_id, p.symbol, p.contract_name, p.direction::text as direction,
       p.status::text as status, p.currency, p.multiplier, p.quantity_open, p.quantity_opened, p.quantity_closed, p.vwap,
       p.entry_vwap, p.cost_basis, p.realized_pnl, p.fees_total, p.opened_at, p.last_action_at, p.action_count,
       o.opening_basis, m.price as mark, m.as_of as marked_at, d.price as mark_before, s.lane, s.badges,
       exists (select from ledger.v_action_history h
                where h.book_id = p.book_id and h.position_id = p.position_id and h.version > 1) as is_corrected
  from page p
  left join lateral (select case when bool_and(l.cost_basis is not null) then sum(l.cost_basis) end as opening_basis
                       from ledger.v_lots l where l.book_id = p.book_id and l.position_id = p.position_id) o on true
  left join lateral (select v.price, v.as_of from ledger.v_marks v
                      where v.book_id = p.book_id and v.instrument_id = p.instrument_id
                        and v.bucket_at < :marked_before and v.as_of < :marked_before
                      order by v.bucket_at desc limit 1) m on true
  left join lateral (select v.price from ledger.v_marks v
                      where v.book_id = p.book_id and v.instrument_id = p.instrument_id
                        and v.bucket_at < :marked_before_then and v.as_of < :marked_before_then
                      order by v.bucket_at desc limit 1) d on true
  left join signal.v_board s on s.book_id = p.book_id and s.ticker = p.instrument_id
 order by p.opened_at desc, p.position_id desc, p.book_id desc;

-- name: tagged
-- The positions that hold an action with a tag of the user's.
select distinct h.book_id, h.position_id
  from tracker.v_annotations n
  join ledger.v_action_history h on h.book_id = n.book_id and h.action_id = n.subject_id
 where n.tenant_id = :tenant_id and n.kind = 'position' and n.book_id = any(:books::text[]) and :tag = any(n.tags)
   and (not :is_present::boolean or (h.known_to is null and h.state = 'BOOKED'))
 order by h.book_id, h.position_id
 limit :limit;

-- name: of_reason
-- Positions that ever had an action of a reason, in whatever version; of many not all.
select distinct h.book_id, h.position_id
  from ledger.v_action_history h
 where h.book_id = any(:books::text[]) and h.reason = :reason
 limit :limit;

-- name: board_of
-- Where the tickers of some positions stand now (pairs of book and instrument).
select s.book_id, s.ticker as instrument_id, s.lane, s.badges
  from unnest(:books::text[], :instruments::text[]) as wanted(book_id, instrument)
  join signal.v_board s on s.book_id = wanted.book_id and s.ticker = wanted.instrument;

-- name: corrected
-- Which positions (pairs of book and position) were told otherwise by K than at first.
select wanted.book_id, wanted.position_id
  from unnest(:books::text[], :positions::uuid[]) as wanted(book_id, position_id)
 where exists (select from ledger.v_action_history h
                where h.book_id = wanted.book_id and h.position_id = wanted.position_id and h.version > 1
                  and h.known_from <= :known_as_of::timestamptz);

-- name: lots
-- The lots of some positions, oldest first.
select book_id, position_id, lot_id, opened_at, quantity, quantity_open, price, value, cost_basis, cost_basis_open,
       status::text as status
  from ledger.v_lots
 where book_id = any(:books::text[]) and position_id = any(:positions::uuid[])
 order by opened_at, lot_id;

-- name: actions
-- The execution actions of some positions in order, each with its closings.
select a.book_id, a.position_id, a.action_id, a.version, a.executed_at, a.action_type::text as action_type, a.quantity, a.price,
       a.value, a.fees, a.realized_pnl, a.position_quantity_after, a.position_vwap_after, a.reason, c.closings
  from ledger.v_actions a
  left join lateral (select json_agg(json_build_object('lot_id', v.lot_id, 'qty', trim_scale(v.quantity)::text,
                                                       'lot_price', trim_scale(v.lot_price)::text,
                                                       'pnl_realized', trim_scale(v.realized_pnl)::text)
                                     order by v.lot_id) as closings
                       from ledger.v_closings v
                      where a.action_type in ('TRIM', 'EXIT') and v.book_id = a.book_id and v.action_id = a.action_id) c on true
 where a.book_id = any(:books::text[]) and a.position_id = any(:positions::uuid[])
 order by a.executed_at, a.action_id;

-- name: messages_of
-- What became of the messages of some executions (pairs of book and action).
select n.book_id, n.action_id, n.state, n.last_finding, n.proven_at, n.message_id, n.message_url, n.posted_at, n.posted_version,
       n.wanted_version, n.channel_id
  from unnest(:books::text[], :actions::uuid[]) as wanted(book_id, action_id)
 cross join lateral (
     select m.* from notify.v_messages m
      where m.book_id = wanted.book_id and m.action_id = wanted.action_id and m.subject_kind = 'execution'
      order by m.posted_at desc nulls last limit 1) as n;

-- name: flat_trades
-- The flat shape of some positions, exactly the columns of the view.
select t.* from ledger.v_trades t where t.book_id = any(:books::text[]) and t.trade_id = any(:positions::uuid[]);

-- name: flat_events
-- The flat shape of the actions of some positions.
select e.* from ledger.v_trade_events e where e.book_id = any(:books::text[]) and e.trade_id = any(:positions::uuid[])
 order by e.ts, e.event_id;

-- name: executions
-- Executions as known at K, newest first, after a place: of what is current and of what was replaced after K each along its
-- order, book by book, then the first of all.
select found.book_id, found.action_id, found.version, found.position_id, found.instrument_id, found.ticker,
       found.direction::text as direction, found.action_type::text as action_type, found.executed_at, found.known_from,
       found.session_date, found.quantity, found.price, found.value, found.fees, found.cash_effect, found.currency,
       found.realized_pnl, found.position_quantity_after, found.position_vwap_after,
       found.position_cost_basis_after, found.position_realized_pnl_after, found.is_flat_after, found.reason,
       found.origin
  from unnest(:books::text[]) as wanted(book_id)
 cross join lateral (
     (select h.* from ledger.v_action_history h
       where h.book_id = wanted.book_id and h.state = 'BOOKED' and h.known_to is null
         and h.known_from <= :known_as_of::timestamptz and h.executed_at <= :as_of::timestamptz
         and (:after_at::timestamptz is null
              or (h.executed_at <= :after_at::timestamptz
                  and (h.executed_at, h.action_id, h.book_id) < (:after_at::timestamptz, :after_id::uuid, :after_book::text)))
         and (:since::timestamptz is null or h.executed_at >= :since::timestamptz)
         and (:until::timestamptz is null or h.executed_at < :until::timestamptz)
         and (:ticker::text is null or h.ticker = :ticker::text)
         and (:action_type::text is null or coalesce(h.action_type::text = :action_type::text, false))
         and (:position_id::uuid is null or h.position_id = :position_id::uuid)
       order by h.executed_at desc, h.action_id desc
       limit :limit)
     union all
     (select h.* from ledger.v_action_history h
       where h.book_id = wanted.book_id and h.state = 'BOOKED' and h.known_to > :known_as_of::timestamptz
         and h.known_from <= :known_as_of::timestamptz and h.executed_at <= :as_of::timestamptz
         and (:after_at::timestamptz is null
              or (h.executed_at <= :after_at::timestamptz
                  and (h.executed_at, h.action_id, h.book_id) < (:after_at::timestamptz, :after_id::uuid, :after_book::text)))
         and (:since::timestamptz is null or h.executed_at >= :since::timestamptz)
         and (:until::timestamptz is null or h.executed_at < :until::timestamptz)
         and (:ticker::text is null or h.ticker = :ticker::text)
         and (:action_type::text is null or coalesce(h.action_type::text = :action_type::text, false))
         and (:position_id::uuid is null or h.position_id = :position_id::uuid)
       order by h.executed_at desc, h.action_id desc
       limit :limit)) as found
 order by found.executed_at desc, found.action_id desc, found.book_id desc
 limit :limit;

-- name: position_of_number
-- The positions that published snapshots name by an integer.
select p.position_id
  from ledger.v_position_numbers p
 where p.book_id = any(:books::text[]) and p.number = :number::bigint
 limit 1;

-- name: versions
-- Every version of the actions of a position that was known by K, also of those that are not its any more.
select h.action_id, h.version, h.state::text as state, h.known_from, h.known_to, h.cause, h.action_type::text as action_type,
       h.executed_at, h.quantity, h.price, h.value, h.fees, h.realized_pnl, h.position_quantity_after, h.position_vwap_after,
       h.position_realized_pnl_after, h.reason
  from ledger.v_action_history h
 where h.book_id = :book_id and h.known_from <= :known_as_of::timestamptz and h.executed_at <= :as_of::timestamptz
   and h.action_id in (
       select a.action_id from ledger.actions_as_of(:book_id, :as_of, :known_as_of) a where a.position_id = :position_id::uuid
       union
       select v.action_id from ledger.v_action_history v
        where v.book_id = :book_id and v.position_id = :position_id::uuid and v.version > 1
          and v.known_from <= :known_as_of::timestamptz)
 order by h.executed_at, h.action_id, h.version
 limit :limit;

-- name: evidence
-- The facts behind the actions of a position, in the versions that were known at K.
select a.action_id, f.fill_id, f.version, f.source, f.account_key, f.source_id, f.source_revision, f.is_bust, f.venue_order,
       f.side::text as side, f.quantity, f.price, f.fees, f.fees_currency, f.executed_at, f.received_at, f.recorded_at, f.origin,
       f.cause, encode(f.content_hash, 'hex') as content_hash
  from ledger.actions_as_of(:book_id, :as_of, :known_as_of) a
  join ledger.v_fill_history f on f.book_id = a.book_id and f.seq = a.fill_seq
 where a.position_id = :position_id::uuid
 order by a.executed_at, a.action_id
 limit :limit;
