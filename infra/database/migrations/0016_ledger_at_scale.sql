-- Room ledger at a hundred thousand positions: pages of the past read what they show, not the book.

-- Entries by themselves, newest first, with the columns that a page is filtered by, so that a filter is answered inside the
-- index. Only a position's first action is in it.
create index execution_actions_entries
    on ledger.execution_actions (book_id, executed_at desc, position_id desc, ticker, instrument, direction)
    where superseded_at is null and state = 'BOOKED' and action_type = 'ENTRY';

-- What was open at T and is not any more closed after T. `opened_at` is here to be compared without reading the row.
create index positions_by_closed on ledger.positions (book_id, closed_at, opened_at) where status = 'CLOSED';

-- What was learned after K of what was executed by T is told inside the index, as is what was replaced after K.
drop index ledger.execution_actions_by_recorded, ledger.execution_actions_replaced_by_time;
create index execution_actions_by_recorded on ledger.execution_actions (book_id, recorded_at, executed_at);
create index execution_actions_replaced_by_time
    on ledger.execution_actions (book_id, executed_at desc, action_id, superseded_at)
    where superseded_at is not null and state = 'BOOKED';

-- The keys that others refer to are the newest indexes of their tables again (decision 0012).
alter table ledger.execution_actions drop constraint execution_actions_position_fk;
alter table ledger.lots drop constraint lots_position_fk;
alter table ledger.closings drop constraint closings_action_fk;
alter table ledger.positions drop constraint positions_pk, add constraint positions_pk primary key (book_id, position_id);
alter table ledger.execution_actions drop constraint execution_actions_pk,
    add constraint execution_actions_pk primary key (book_id, action_id, version);
alter table ledger.lots add constraint lots_position_fk foreign key (book_id, position_id) references ledger.positions;
alter table ledger.execution_actions
    add constraint execution_actions_position_fk foreign key (book_id, position_id) references ledger.positions;
alter table ledger.closings
    add constraint closings_action_fk foreign key (book_id, action_id, version) references ledger.execution_actions;
