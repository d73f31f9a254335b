-- Room tracker: it owns nothing yet but its way of reading. tracker_reader is a member of every room's readers.

grant outbox_reader, ledger_reader, signal_reader, notify_reader to tracker_reader;
grant tracker_reader to desk_operator;
