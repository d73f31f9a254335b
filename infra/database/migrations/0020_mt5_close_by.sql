-- A close-by is compared as what it is: two positions closed against each other under one order.
--
-- The broker books the result of the pair on either of its two deals; the book, which knows prices alone, splits it by them. So
-- a position's result may differ from the broker's while the pair's may not. What a side's book says above its deal is set
-- against the other side's, and what the two leave over is the difference of both. Where the profit currency is another, a
-- side's rate is implied by its own result, so that nothing moves between sides: either both agree, or one of them has no rate.
-- Sources: mt5 specification, 5 and 10; decision 0031.

create index deals_close_by_ix on mt5.deals (account_id, order_id) where entry = 3;

create or replace view mt5.ledger_differences with (security_invoker = true) as
    with booked as (
        select x.book_id, x.meta->>'position_id' as position_id, x.meta->>'episode' as episode, x.meta->>'order' as order_id,
               x.currency, x.realized_pnl_gross, x.realized_pnl_base, x.action_type not in ('ENTRY', 'ADD_ENTRY') as is_closing
          from ledger.v_actions x
         where x.book_id like 'mt5:%'),
    lives as (
        select b.book_id, b.position_id, b.episode, sum(b.realized_pnl_base) as realized_pnl_base, count(*) as action_count,
               min(b.currency) as currency, count(*) filter (where not b.is_closing) as entry_count,
               count(*) filter (where b.is_closing) as closing_count,
               bool_or(b.realized_pnl_base is null and b.is_closing) as is_unknown
          from booked b
         group by 1, 2, 3),
    told as (
        select d.account_id, d.order_id, d.position_id, sum(d.profit) as profit
          from mt5.deals d
         where d.entry = 3 and d.deal_type in (0, 1) and d.volume > 0 and not d.withdrawn
           and not exists (select from mt5.deals n
                            where n.account_id = d.account_id and n.deal_ticket = d.deal_ticket and n.revision > d.revision)
         group by 1, 2, 3),
    sides as (
        select t.account_id, t.order_id, t.position_id, b.episode, b.closing_count,
               case when b.is_unknown then null
                    when b.gross = 0 then -t.profit
                    when b.currency = a.currency then b.gross - t.profit
                    else 0 end as above
          from told t
          join mt5.trading_accounts a on a.id = t.account_id
          left join (
              select x.book_id, x.order_id, x.position_id, x.episode, min(x.currency) as currency,
                     sum(x.realized_pnl_gross) as gross, bool_or(x.realized_pnl_base is null) as is_unknown,
                     count(*) as closing_count
                from booked x
               where x.is_closing
               group by 1, 2, 3, 4) b
            on b.book_id = a.book_id and b.order_id = t.order_id::text and b.position_id = t.position_id::text),
    pairs as (
        select s.account_id, s.order_id, sum(s.above) as left_over, sum(s.closing_count) as closing_count,
               bool_or(s.above is null) as is_unknown
          from sides s
         group by 1, 2),
    moved as (
        select s.account_id, s.position_id, s.episode, sum(s.above - p.left_over) as amount,
               sum(p.closing_count - s.closing_count) as other_closings, bool_or(p.is_unknown) as is_unknown
          from sides s
          join pairs p on p.account_id = s.account_id and p.order_id = s.order_id
         where s.episode is not null
         group by 1, 2, 3),
    compared as (
        select t.account_id, t.tenant_id, a.book_id, t.position_id, t.episode, t.symbol, t.net_pnl, b.realized_pnl_base,
               coalesce(b.closing_count, 0) as closing_count, coalesce(m.amount, 0) as close_by_moved,
               case when not t.entry_complete then 'entry_missing'
                    when b.action_count > 0 and b.is_unknown then 'money_unknown'
                    when m.is_unknown then 'close_by_side_unknown'
                    when a.margin_mode <> 2 and b.entry_count > 1 and b.currency is distinct from a.currency
                    then 'average_entry_in_foreign_currency' end as not_comparable,
               0.5 * power(10::numeric, -a.currency_digits)
                   * greatest(coalesce(b.closing_count, 0) + coalesce(m.other_closings, 0), 1) as tolerance
          from mt5.trades t
          join mt5.trading_accounts a on a.id = t.account_id
          left join lives b
            on b.book_id = a.book_id and b.position_id = t.position_id::text and b.episode = t.episode::text
          left join moved m
            on m.account_id = t.account_id and m.position_id = t.position_id and m.episode = t.episode::text
         where t.status = 'closed' and t.ledger_state = 'booked')
    select c.account_id, c.tenant_id, c.book_id, c.position_id, c.episode, c.symbol, c.net_pnl, c.realized_pnl_base,
           c.realized_pnl_base - c.close_by_moved - c.net_pnl as difference, c.closing_count, c.not_comparable, c.close_by_moved
      from compared c
     where c.realized_pnl_base is null or c.net_pnl is null
        or abs(c.realized_pnl_base - c.close_by_moved - c.net_pnl) > c.tolerance;
comment on view mt5.ledger_differences is 'Flat episodes whose book says another result than their deals, after what a close-by booked on its other side (close_by_moved). A row that names a reason in not_comparable is no error; no other row may exist.';
