-- The read model's statements: views of other rooms only, each within the reader's tenant and books.

-- name: books
-- The books a reader may see, with their sequence and newest row.
select book_id, seq, last_recorded_at
  from ledger.v_books
 where tenant_id = :tenant_id
   and case when :books::text[] is null then book_id not like 'replay:%' else book_id = any(:books::text[]) end;

-- name: positions
-- Positions with activity in a range, newest entry first, with their last mark and the last one of an earlier session.
select p.position_id, p.book_id, p.symbol, p.contract_name, p.direction::text as direction, p.status::text as status,
       p.currency, p.multiplier, p.quantity_open, p.quantity_opened, p.quantity_closed, p.vwap, p.entry_vwap, p.cost_basis,
       p.realized_pnl, p.fees_total, p.opened_at, p.last_action_at, p.closed_at, p.action_count,
       o.opening_basis, m.price as mark, m.as_of as marked_at, d.price as mark_before, s.lane, s.badges
  from ledger.v_positions p
  left join lateral (select case when bool_and(l.cost_basis is not null) then sum(l.cost_basis) end as opening_basis
                       from ledger.v_lots l where l.book_id = p.book_id and l.position_id = p.position_id) o on true
  left join lateral (select v.price, v.as_of from ledger.v_marks v
                      where v.book_id = p.book_id and v.instrument_id = p.instrument_id
                      order by v.as_of desc limit 1) m on true
  left join lateral (select v.price from ledger.v_marks v
                      where v.book_id = p.book_id and v.instrument_id = p.instrument_id and v.as_of < :day_start
                      order by v.as_of desc limit 1) d on true
  left join signal.v_board s on s.book_id = p.book_id and s.ticker = p.instrument_id
 where p.book_id = any(:books::text[])
   and (:ticker::text is null or p.symbol = :ticker::text)
   and (:direction::text is null or p.direction::text = :direction::text)
   and (:status::text = 'all' or (p.status = 'OPEN') = (:status::text = 'open'))
   and ((:since::timestamptz is null and :until::timestamptz is null) or exists (
        select from ledger.v_actions a
         where a.book_id = p.book_id and a.position_id = p.position_id
           and (:since::timestamptz is null or a.executed_at >= :since::timestamptz)
           and (:until::timestamptz is null or a.executed_at < :until::timestamptz)))
 order by p.opened_at desc, p.position_id desc
 limit :limit;

-- name: lots
-- The lots of some positions, oldest first.
select book_id, position_id, lot_id, opened_at, quantity, quantity_open, price, cost_basis, cost_basis_open, status::text as status
  from ledger.v_lots
 where book_id = any(:books::text[]) and position_id = any(:positions::uuid[])
 order by opened_at, lot_id;

-- name: actions
-- The execution actions of some positions in order, each with its closings and the state of its message.
select a.book_id, a.position_id, a.action_id, a.version, a.executed_at, a.action_type::text as action_type, a.quantity, a.price,
       a.value, a.fees, a.realized_pnl, a.position_quantity_after, a.reason, c.closings, n.state as message_state,
       n.message_id, n.posted_at
  from ledger.v_actions a
  left join lateral (select json_agg(json_build_object('lot_id', v.lot_id, 'quantity', v.quantity::text,
                                                       'lot_price', v.lot_price::text, 'realized_pnl', v.realized_pnl::text)
                                     order by v.lot_id) as closings
                       from ledger.v_closings v where v.book_id = a.book_id and v.action_id = a.action_id) c on true
  left join notify.v_messages n
    on n.subject_kind = 'execution' and n.book_id = a.book_id and n.action_id = a.action_id
 where a.book_id = any(:books::text[]) and a.position_id = any(:positions::uuid[])
 order by a.executed_at, a.action_id;

-- name: flat_trades
-- The flat shape of some positions, exactly the columns of the view.
select t.* from ledger.v_trades t where t.book_id = any(:books::text[]) and t.trade_id = any(:positions::uuid[]);

-- name: flat_events
-- The flat shape of the actions of some positions.
select e.* from ledger.v_trade_events e where e.book_id = any(:books::text[]) and e.trade_id = any(:positions::uuid[])
 order by e.ts, e.event_id;

-- name: board
-- One card per ticker, latest move first.
select book_id, ticker, lane, previous_lane, reason, rule, badges, blocks, lane_since, side, score, last_price,
       day_change_percent, last_ts, last_receipt_id, position_id
  from signal.v_board
 where book_id = any(:books::text[]) and (:ticker::text is null or ticker = :ticker::text)
 order by lane_since desc, ticker;

-- name: ages
-- Newest rows of the desk and what waits or failed on its way out.
select (select max(last_ts) from signal.v_freshness) as last_receipt_at,
       (select max(executed_at) from ledger.v_actions where book_id = any(:books::text[])) as last_execution_at,
       (select max(as_of) from ledger.v_marks where book_id = any(:books::text[])) as newest_mark_at,
       (select coalesce(sum(due), 0) from outbox.v_backlog) as outbox_depth,
       (select coalesce(sum(parked), 0) from outbox.v_backlog) as outbox_parked,
       (select min(oldest_unpublished_at) from outbox.v_backlog) as outbox_oldest_at,
       (select count(*) from notify.v_messages where state in ('pending', 'sending', 'ambiguous')) as messages_pending,
       (select count(*) from notify.v_messages where state = 'dead') as messages_dead,
       (select max(posted_at) from notify.v_messages) as last_delivery_at;

-- name: channels
-- The channels that stand still, with why.
select channel_id, status, status_reason from notify.v_channels where status <> 'active';

-- name: audits
-- The last audit of each book.
select distinct on (book_id) book_id, ran_at, exit
  from ledger.v_audits
 where book_id = any(:books::text[])
 order by book_id, ran_at desc;
