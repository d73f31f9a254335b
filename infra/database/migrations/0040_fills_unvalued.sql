-- outside a transaction
-- Fills whose money nobody could tell are few, and asked for each time something becomes known of their instruments.
drop index concurrently if exists ledger.fills_unvalued;
create index concurrently fills_unvalued on ledger.fills (book_id, instrument) where currency = 'XXX';
