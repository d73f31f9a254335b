-- Room ledger, faster: the index behind each key that others refer to is the newest of its table.
--
-- A foreign key is checked by a plan that a session makes once, and on a young table every index that begins with book_id
-- looks equally good. Among equals the planner takes the newest, and that was one on which only book_id narrows: each check
-- read the whole book until the first ANALYZE. Made again here, the keys themselves are the newest. A later migration that
-- adds an index to one of these tables has to do the same (a test counts what the checks read).

alter table ledger.closings drop constraint closings_action_fk, drop constraint closings_lot_fk;
alter table ledger.execution_actions drop constraint execution_actions_fill_fk, drop constraint execution_actions_position_fk;
alter table ledger.lots drop constraint lots_position_fk;

alter table ledger.fills drop constraint fills_seq_key, add constraint fills_seq_key unique (book_id, seq);
alter table ledger.positions drop constraint positions_pk, add constraint positions_pk primary key (book_id, position_id);
alter table ledger.lots drop constraint lots_pk, add constraint lots_pk primary key (book_id, lot_id);
alter table ledger.execution_actions drop constraint execution_actions_pk,
    add constraint execution_actions_pk primary key (book_id, action_id, version);

alter table ledger.lots add constraint lots_position_fk foreign key (book_id, position_id) references ledger.positions;
alter table ledger.execution_actions
    add constraint execution_actions_fill_fk foreign key (book_id, fill_seq) references ledger.fills (book_id, seq),
    add constraint execution_actions_position_fk foreign key (book_id, position_id) references ledger.positions;
alter table ledger.closings
    add constraint closings_action_fk foreign key (book_id, action_id, version) references ledger.execution_actions,
    add constraint closings_lot_fk foreign key (book_id, lot_id) references ledger.lots;
