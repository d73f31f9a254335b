-- What the desk costs: days that were counted, as whoever counted them left them.

-- name: day
-- A counted day; the newest where none is named.
select d.day, d.source, d.document
  from ops.v_cost_days d
 where d.day = coalesce(:day::date, (select max(m.day) from ops.v_cost_days m));

-- name: days
-- The counted days, newest first.
select d.day from ops.v_cost_days d order by d.day desc limit :limit;
