-- A user's words about a trade: notes, tags, a strategy, and whether it is hidden. They belong to the user alone: no worker has a
-- right to them, and nobody may delete them. Sources: tracker.md 5, mt5.md 6 and law 17.
--
-- What they are about is named by what never changes: a trade's id; for a position the action that opened it, because a fill that
-- comes late may give the position another id (decision 0044).

-- Whether tags are within bounds: at most 20, each of 1 to 40 characters, none twice.
create function tracker.are_tags(tags text[]) returns boolean
language sql immutable strict as $$
    select cardinality(tags) <= 20 and coalesce(array_ndims(tags), 1) = 1
           and not exists (select from unnest(tags) as tag where tag is null or char_length(tag) not between 1 and 40)
           and cardinality(tags) = (select count(distinct tag) from unnest(tags) as tag)
$$;

create table tracker.annotations (
    tenant_id  text        not null,
    kind       text        not null,
    book_id    text        not null default '',
    subject_id uuid        not null,
    notes      text,
    tags       text[]      not null default '{}',
    strategy   text,
    hidden_at  timestamptz,
    version    integer     not null default 1,
    updated_at timestamptz not null,
    updated_by text        not null,
    constraint annotations_pk primary key (tenant_id, kind, book_id, subject_id),
    constraint annotations_kind_ck check (kind in ('position', 'ibkr_trade', 'mt5_trade')),
    constraint annotations_book_ck check ((kind = 'position') = (book_id <> '')),
    constraint annotations_notes_ck check (char_length(notes) between 1 and 10000),
    constraint annotations_tags_ck check (tracker.are_tags(tags)),
    constraint annotations_strategy_ck check (char_length(strategy) between 1 and 100),
    constraint annotations_position_ck check (kind <> 'position' or num_nonnulls(strategy, hidden_at) = 0),
    constraint annotations_version_ck check (version >= 1)
);
comment on table tracker.annotations is 'A user''s words about a trade. Written by the notes routes alone, never deleted.';
comment on column tracker.annotations.book_id is 'Of a position its book, because ids of actions leave the book out; empty otherwise.';
comment on column tracker.annotations.subject_id is 'The trade''s id; of a position its first action.';
comment on column tracker.annotations.hidden_at is 'Since when a broker''s trade is left out of lists; null: it is not.';
comment on column tracker.annotations.version is 'Rises with every change; whoever changes a row says which version was seen.';
comment on column tracker.annotations.updated_by is 'Id of the desk key.';
create index annotations_by_update on tracker.annotations (tenant_id, updated_at desc, subject_id desc);

alter table tracker.annotations enable row level security;
alter table tracker.annotations force row level security;
create policy annotations_tenant on tracker.annotations
    using (tenant_id = nullif(current_setting('fillbook.tenant_id', true), ''))
    with check (tenant_id = nullif(current_setting('fillbook.tenant_id', true), ''));

create view tracker.v_annotations with (security_invoker = true) as
    select n.tenant_id, n.kind, n.book_id, n.subject_id, n.notes, n.tags, n.strategy, n.hidden_at, n.version, n.updated_at,
           n.updated_by
      from tracker.annotations n;
comment on view tracker.v_annotations is 'A tenant''s words; they are shown where trades are.';

-- Trades that gave way to an heir are found from it: their words are shown there.
create index trades_heir_idx on ibkr.trades (merged_into) where merged_into is not null;

revoke all on all functions in schema tracker from public;
grant execute on function tracker.are_tags(text[]) to tracker_writer;
grant select on tracker.annotations, tracker.v_annotations to tracker_reader, tracker_writer;
grant insert on tracker.annotations to tracker_writer;
grant update (notes, tags, strategy, hidden_at, version, updated_at, updated_by) on tracker.annotations to tracker_writer;
