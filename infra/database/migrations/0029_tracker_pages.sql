-- Room ledger as the read API pages it: positions after a place, in the order in which they are listed.

-- The page's order to the letter, so that a page begins where the one before ended and nothing is put in order. A ticker's and the
-- open ones are few among many. What is indexed does not change while a position lives, but that it is open.
drop index ledger.positions_by_opened;
create index positions_by_opened on ledger.positions (book_id, opened_at desc, position_id desc);
create index positions_by_ticker on ledger.positions (book_id, ticker, opened_at desc, position_id desc);
create index positions_open_by_opened on ledger.positions (book_id, opened_at desc, position_id desc) where status = 'OPEN';

-- The integer that published snapshots name a position by: the last 13 hex digits of its id, which is a function of the id alone.
create function ledger.position_number(position_id uuid) returns bigint
language sql immutable strict parallel safe
return ('x' || right(replace(position_id::text, '-', ''), 13))::bit(52)::bigint;
create index positions_by_number on ledger.positions (book_id, ledger.position_number(position_id));
create view ledger.v_position_numbers as
    select p.book_id, p.position_id, ledger.position_number(p.position_id) as number from ledger.positions p;
comment on view ledger.v_position_numbers is 'Positions by the integer that published snapshots name them by.';

-- Which positions were told otherwise than at first: few, so that a booking hardly ever writes here.
create index execution_actions_corrected on ledger.execution_actions (book_id, position_id, recorded_at) where version > 1;

-- Which positions ever had an action of a reason: where these are few they are named, not walked for. Brokers tell no reason.
create index execution_actions_by_reason on ledger.execution_actions (book_id, reason, position_id) where reason is not null;

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

-- Whether a position stood so by T, as known at K: its outcome (pending: closed, the result not known) and what it had realized,
-- which its last action tells, and a reason, which any of them may have. Null asks nothing.
create function ledger.stood_as_of(book text, subject uuid, as_of timestamptz, known_as_of timestamptz, outcome text,
                                   min_pnl numeric, max_pnl numeric, for_reason text)
returns boolean language sql stable as $$
    select (outcome is null and min_pnl is null and max_pnl is null or coalesce((
               select (outcome is null or (l.position_quantity_after = 0 and outcome =
                           case when l.position_realized_pnl_after > 0 then 'win' when l.position_realized_pnl_after < 0 then 'loss'
                                when l.position_realized_pnl_after = 0 then 'flat' else 'pending' end))
                      and (min_pnl is null or l.position_realized_pnl_after >= min_pnl)
                      and (max_pnl is null or l.position_realized_pnl_after <= max_pnl)
                 from ledger.actions_as_of(book, as_of, known_as_of) as l
                where l.position_id = subject
                order by l.executed_at desc, l.venue_order desc, l.fill_id desc, l.leg desc limit 1), false))
           and (for_reason is null or exists (
               select from ledger.actions_as_of(book, as_of, known_as_of) as x
                where x.position_id = subject and x.reason = for_reason))
$$;
comment on function ledger.stood_as_of is 'Whether a position stood so at a moment: what only its actions tell.';
revoke all on function ledger.position_number(uuid),
    ledger.stood_as_of(text, uuid, timestamptz, timestamptz, text, numeric, numeric, text) from public;

do $$
declare
    reader text;
begin
    foreach reader in array array['ledger_reader', 'ledger_writer', 'replay_writer', 'tracker_reader', 'snapshot_reader',
                                  'notify_reader', 'replay_reader'] loop
        execute format('grant select on ledger.v_position_numbers to %I', reader);
        execute format('grant execute on function ledger.position_number(uuid), '
                       'ledger.stood_as_of(text, uuid, timestamptz, timestamptz, text, numeric, numeric, text) to %I', reader);
    end loop;
end $$;

-- a rebuild writes positions, and with them this index
grant execute on function ledger.position_number(uuid) to ledger_maintenance;
