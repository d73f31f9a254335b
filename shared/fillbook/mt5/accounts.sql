-- name: all_positions
-- Every position of an account that has deals or trades: what a book that is opened late is told, or a rebuild derives again.
select distinct d.position_id from mt5.deals d where d.account_id = :account_id and d.position_id > 0
union
select distinct t.position_id from mt5.trades t where t.account_id = :account_id
 order by 1

-- name: position_ranges
-- The positions of an account that has deals or trades, cut into ranges of so many.
select min(p.position_id) as least, max(p.position_id) as most
  from (select u.position_id, (row_number() over (order by u.position_id) - 1) / :size::integer as part
          from (select d.position_id from mt5.deals d where d.account_id = :account_id and d.position_id > 0
                 union
                select t.position_id from mt5.trades t where t.account_id = :account_id) u) p
 group by p.part
 order by 1

-- name: deals_of_range
-- Deals of a range of positions as lists, each with the highest revision of its ticket, which may be another position's.
select json_agg(json_build_array(
           d.deal_ticket, d.position_id, d.revision, d.newest, d.withdrawn, d.order_id, d.time_server_msc, d.deal_type, d.entry,
           d.reason, d.symbol, d.magic, d.comment, d.recorded_at, d.volume, d.price, d.profit, d.commission, d.swap, d.fee)) as rows
  from (select x.*, (select n.revision from mt5.deals n where n.account_id = x.account_id and n.deal_ticket = x.deal_ticket
                      order by n.revision desc limit 1) as newest
          from mt5.deals x
         where x.account_id = :account_id and x.position_id between :least and :most
         order by x.position_id, x.time_server_msc, x.deal_ticket) d

-- name: trades_of_range
-- Trades of a range of positions.
select json_agg(t) as rows
  from (select x.* from mt5.trades x
         where x.account_id = :account_id and x.position_id between :least and :most
         order by x.position_id, x.episode) t

-- name: symbols_known
-- What is known of symbols of a server.
select to_jsonb(y) - 'fetched_at' as symbol from mt5.symbols y where y.server = :server and y.symbol = any (:symbols::text[])

-- name: positions_of_symbols
-- Positions of an account in symbols whose money has become known.
select distinct d.position_id
  from mt5.deals d
 where d.account_id = :account_id and d.symbol = any (:symbols::text[]) and d.position_id > 0
 order by 1

-- name: positions_valued
-- Positions of an account in symbols whose money has become known: by what it is told now, or through another account since.
select distinct d.position_id
  from (select unnest(:told::text[]) as symbol
         union
        select y.symbol from mt5.symbols y
         where y.server = :server and y.symbol = any (:known::text[]) and y.fetched_at >= :since) s
 cross join lateral (select x.position_id from mt5.deals x
                      where x.account_id = :account_id and x.symbol = s.symbol and x.position_id > 0
                      order by x.position_id, x.time_server_msc, x.deal_ticket) d
 order by 1

-- name: book_cash
-- What a statement of an account's cash is made of: the symbols of every deal of a trade, movements without a trade since the
-- floor (credit apart, and bonuses where they are credit), and money of trades' deals that are stored below the floor.
select array_agg(distinct d.symbol) filter (where d.position_id > 0 and d.symbol <> '') as symbols,
       coalesce(sum(d.amount) filter (where d.is_cash and d.time_server_msc >= :floor_msc
                                        and d.deal_type <> all (:credit_types::smallint[])), 0) as movements,
       coalesce(sum(d.amount) filter (where not d.is_cash and d.time_server_msc < :floor_msc), 0) as below_floor
  from (select x.deal_ticket, x.position_id, x.symbol, x.time_server_msc, x.deal_type,
               x.profit + x.commission + x.swap + x.fee as amount,
               (select o.deal_ticket from mt5.cash_operations o
                 where o.account_id = x.account_id and o.deal_ticket = x.deal_ticket) is not null as is_cash
          from mt5.deals x
         where x.account_id = :account_id and not x.withdrawn and x.time_server_msc <= :until_msc
           and x.revision = (select n.revision from mt5.deals n
                              where n.account_id = x.account_id and n.deal_ticket = x.deal_ticket order by n.revision desc limit 1)
         order by x.time_server_msc, x.deal_ticket) d

-- name: cash_tickets
-- Deals that may be movements of cash, and those that were.
select distinct d.deal_ticket
  from mt5.deals d
 where d.account_id = :account_id and (d.position_id = 0 or d.deal_type not in (0, 1, 13, 14))
union
select o.deal_ticket from mt5.cash_operations o where o.account_id = :account_id
 order by 1

-- name: last_error
-- What an account's last failure was, so that work beside its runs leaves it as it is.
select last_error_code, last_connection_error from mt5.trading_accounts where id = :account_id
