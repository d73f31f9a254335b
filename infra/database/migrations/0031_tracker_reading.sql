-- What the read API still lacked: the board's lanes themselves, in their order, pages of moves, and the delivery log by time.
-- Sources: tracker.md 4.4, 5.

create view signal.v_lanes as
    select l.place, l.key, l.title, l.stages, l.holds
      from (values
          (1, 'watching',     'Watching',     array['watch', 'setup_watch'],        'no'),
          (2, 'almost_ready', 'Almost Ready', array['flip_watch', 'just_flipped'],  'no'),
          (3, 'enter_now',    'Enter Now',    array['enter_now'],                   'open'),
          (4, 'just_entered', 'Just Entered', array['just_entered'],                'open'),
          (5, 'hold',         'Hold',         array['hold'],                        'open'),
          (6, 'trim',         'Trim',         array['trim'],                        'open'),
          (7, 'exit',         'Exit',         array['exit'],                        'closed'),
          (8, 'archived',     'Archived',     array['archive'],                     'no')
      ) as l(place, key, title, stages, holds);
comment on view signal.v_lanes is 'The board''s columns in their order: a new lane is a line here. holds: what the rules leave there, no position, an open one, or one that this receipt closed.';

create view signal.v_moves as
    select h.book_id, h.ticker, h.seq, h.from_lane, h.lane, h.rule, h.reason, h.badges, h.blocks, h.price, h.score, h.entered_at,
           h.receipt_id, h.action_ids,
           (select n.entered_at from signal.lane_history n
             where n.book_id = h.book_id and n.ticker = h.ticker and n.seq > h.seq order by n.seq limit 1) as left_at
      from signal.lane_history h;
comment on view signal.v_moves is 'As v_lane_moves, for pages: the end of a move is looked up, so that no book is read whole for some of its moves.';

-- A receipt moves one ticker once, so that (entered_at, receipt_id) is a place in a book's moves.
create index lane_history_page on signal.lane_history (book_id, entered_at, receipt_id);
drop index signal.lane_history_by_time;

-- The delivery log in two halves, so that it can be walked along its time: v_delivery_log begins with the subject.
create view notify.v_attempts as
    select attempt_id, channel_id, operation, started_at, finished_at, http_status, discord_code, retry_after_seconds, message_id,
           error, response_excerpt
      from notify.attempts;
comment on view notify.v_attempts is 'Every request to Discord.';
create view notify.v_attempt_subjects as
    select s.attempt_id, s.channel_id, s.subject_key, m.subject_kind, m.book_id, m.action_id, m.position_id
      from notify.attempt_subjects s join notify.messages m on m.channel_id = s.channel_id and m.subject_key = s.subject_key;
comment on view notify.v_attempt_subjects is 'Which subjects a request carried.';
-- Keys of messages are compared byte by byte, and so must be whoever looks for a message's requests.
create index attempt_subjects_by_subject on notify.attempt_subjects (channel_id, subject_key collate "C");
create index messages_by_position on notify.messages (position_id) where position_id is not null;

grant select on notify.v_attempts, notify.v_attempt_subjects to notify_reader, tracker_reader, desk_operator;
grant select on signal.v_lanes, signal.v_moves to signal_reader, tracker_reader, desk_operator;
