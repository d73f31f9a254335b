-- Statements of room snapshot about the ledger actions behind a figure, read from the ledger's views. Each starts from what a figure is
-- made of; what an action gives to the figure is its contribution, NULL where a figure is not a sum over actions. Amounts of another
-- currency than the book's are no part of any figure.

-- name: of_the_day
-- The actions executed within a day's window: all of them, those of some types, or those that closed anything.
with behind as (
    select a.book_id, a.action_id,
           case :measure::text when 'one' then 1 when 'value' then abs(a.value) when 'fees' then a.fees
                               when 'realized' then a.realized_pnl end as contribution
      from ledger.v_actions a
      join ledger.v_books b on b.book_id = a.book_id
     where a.book_id = any(:books::text[]) and a.currency = b.base_currency
       and a.executed_at >= :window_start and a.executed_at < :window_end and a.executed_at <= :as_of
       and (:types::text[] is null or a.action_type::text = any(:types::text[])))
