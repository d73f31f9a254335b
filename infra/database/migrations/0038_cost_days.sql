-- What a day used and what a month of such days costs, for the page. The local cloud's meter writes it; in a cloud nobody does, and
-- the page then says that it does not know. Source: decision 0063.

create table ops.cost_days (
    day      date  not null,
    source   text  not null,
    document jsonb not null,
    constraint cost_days_pk primary key (day),
    constraint cost_days_source check (source <> ''),
    constraint cost_days_document check (jsonb_typeof(document) = 'object')
);
comment on table ops.cost_days is 'One row per counted day: what functions, messages and the database used, and its price by line.';
comment on column ops.cost_days.day is 'The date that the desk clock showed in New York while it was counted.';
comment on column ops.cost_days.source is 'Who counted.';
comment on column ops.cost_days.document is 'Counts and lines as infra/cost/report.py writes them; what was not counted is null in it.';

create view ops.v_cost_days as select day, source, document from ops.cost_days;
comment on view ops.v_cost_days is 'Counted days with their price.';

grant usage on schema ops to tracker_reader, desk_operator;
grant select on ops.v_cost_days to tracker_reader, desk_operator;
grant select, insert, update on ops.cost_days to desk_operator;
