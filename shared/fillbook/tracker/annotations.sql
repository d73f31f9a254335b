-- A user's words about trades, and what they are about: views of other rooms, and the one table of this room.

-- name: position_words
-- The words about some positions, of each in the order of the actions they hang on: a position may be opened by another one now.
select a.book_id, a.position_id as trade_id, n.subject_id, n.notes, n.tags, n.strategy, n.hidden_at, n.version, n.updated_at,
       n.updated_by
  from ledger.v_actions a
  join tracker.v_annotations n
    on n.tenant_id = :tenant_id and n.kind = 'position' and n.book_id = a.book_id and n.subject_id = a.action_id
 where a.book_id = any(:books::text[]) and a.position_id = any(:positions::uuid[])
 order by a.book_id, a.position_id, a.executed_at, a.venue_order, a.fill_id, a.leg;

-- name: trade_words
-- The words about some broker trades, of each its own first, then those of trades that were merged into it.
with recursive line as (
    select k.id as heir, k.id from unnest(:ids::uuid[]) as k(id)
    union
    select l.heir, t.trade_id from line l join ibkr.v_trades t on t.merged_into = l.id)
select l.heir as trade_id, n.subject_id, n.notes, n.tags, n.strategy, n.hidden_at, n.version, n.updated_at, n.updated_by
  from line l
 cross join lateral (select v.* from tracker.v_annotations v
                      where v.tenant_id = :tenant_id and v.kind = 'ibkr_trade' and v.book_id = '' and v.subject_id = l.id
                      limit 1) as n
 order by l.heir, l.id = l.heir desc, n.updated_at desc, n.subject_id;

-- name: linked_words
-- The words about some trades of linked accounts.
select n.subject_id as trade_id, n.subject_id, n.notes, n.tags, n.strategy, n.hidden_at, n.version, n.updated_at, n.updated_by
  from unnest(:ids::uuid[]) as k(id)
 cross join lateral (select v.* from tracker.v_annotations v
                      where v.tenant_id = :tenant_id and v.kind = 'mt5_trade' and v.book_id = '' and v.subject_id = k.id
                      limit 1) as n;

-- name: own_words
-- What was said about a subject itself, whatever became of it.
select n.kind, n.book_id, n.subject_id, n.notes, n.tags, n.strategy, n.hidden_at, n.version, n.updated_at, n.updated_by
  from tracker.v_annotations n
 where n.tenant_id = :tenant_id and n.kind = :kind and n.book_id = :book_id and n.subject_id = :subject_id;

-- name: position_subject
-- A position and the action that opened it.
select p.position_id as trade_id, p.first_action_id as subject_id, p.book_id, p.symbol as ticker
  from ledger.v_positions p
 where p.book_id = any(:books::text[]) and p.position_id = :trade_id;

-- name: trade_subject
-- A broker trade.
select t.trade_id, t.trade_id as subject_id, t.book_id, t.symbol as ticker
  from ibkr.v_trades t
 where t.trade_id = :trade_id and t.book_id = any(:books::text[]);

-- name: linked_subject
-- A trade of a linked account.
select t.id as trade_id, t.id as subject_id, t.book_id, t.symbol as ticker
  from mt5.account_trades t
 where t.tenant_id = :tenant_id and t.id = :trade_id;

-- name: create
-- Write the first words about a subject; no row: there are some.
insert into tracker.annotations (tenant_id, kind, book_id, subject_id, notes, tags, strategy, hidden_at, updated_at, updated_by)
values (:tenant_id, :kind, :book_id, :subject_id, :notes, :tags::text[], :strategy, :hidden_at, :now, :updated_by)
on conflict on constraint annotations_pk do nothing
returning subject_id, notes, tags, strategy, hidden_at, version, updated_at, updated_by;

-- name: change
-- Write other words over those of a version; no row: they have another one by now.
update tracker.annotations n
   set notes = :notes, tags = :tags::text[], strategy = :strategy, hidden_at = :hidden_at, version = n.version + 1,
       updated_at = :now, updated_by = :updated_by
 where n.tenant_id = :tenant_id and n.kind = :kind and n.book_id = :book_id and n.subject_id = :subject_id
   and n.version = :version
returning subject_id, notes, tags, strategy, hidden_at, version, updated_at, updated_by;

-- name: notes
-- A page of words, last changed first, with the trade where they are shown now; without one they are detached.
select n.kind, n.subject_id, n.notes, n.tags, n.strategy, n.hidden_at, n.version, n.updated_at, n.updated_by, f.trade_id, f.ticker,
       coalesce(f.book_id, nullif(n.book_id, '')) as book_id
  from tracker.v_annotations n
  left join lateral (
        select a.position_id as trade_id, a.book_id, a.ticker
          from ledger.v_actions a
         where n.kind = 'position' and a.book_id = n.book_id and a.action_id = n.subject_id
        union all
        select h.trade_id, h.book_id, h.symbol
          from (with recursive line as (
                    select t.trade_id, t.merged_into, t.book_id, t.symbol
                      from ibkr.v_trades t where n.kind = 'ibkr_trade' and t.trade_id = n.subject_id
                    union
                    select t.trade_id, t.merged_into, t.book_id, t.symbol
                      from line l join ibkr.v_trades t on t.trade_id = l.merged_into)
                select * from line where line.merged_into is null) as h
        union all
        select t.id, t.book_id, t.symbol
          from mt5.account_trades t
         where n.kind = 'mt5_trade' and t.tenant_id = n.tenant_id and t.id = n.subject_id) f on true
 where n.tenant_id = :tenant_id
   and (:kind::text is null or n.kind = :kind::text)
   and (:tag::text is null or :tag::text = any(n.tags))
   and (:is_detached::boolean is null or (f.trade_id is null) = :is_detached::boolean)
   and coalesce(f.book_id, nullif(n.book_id, ''), split_part(n.kind, '_', 1) || ':') ~ any(:patterns::text[])
   and case when :books::text[] is null then n.book_id not like 'replay:%'
            else coalesce(f.book_id, nullif(n.book_id, '')) = any(:books::text[]) end
   and (n.updated_at, n.subject_id)
       < (coalesce(:after_at::timestamptz, 'infinity'), coalesce(:after_id::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
 order by n.updated_at desc, n.subject_id desc
 limit :limit;
