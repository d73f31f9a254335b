-- Statements about who asks.

-- name: books
-- The books of a tenant, replayed ones among them.
select book_id, kind, base_currency, closed_at from ledger.v_books where tenant_id = :tenant_id order by book_id;
