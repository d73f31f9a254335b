-- The same refused body that comes several times at once is kept by one and counted by the others. A conflict was expected on one
-- of the table's two unique constraints; whoever was a moment later could meet the other one first, and was told of a fault.
-- Source: signals.md 2.2.

-- Keep a refused body or count it: {quarantine_id, overflow_id, source, reason, field, ticker, body (hex), body_bytes,
-- body_hash (hex), now, day_from, kept_max}. Beyond kept_max bodies a day only the row of the reason counts.
create or replace function signal.put_aside(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    seen     integer;
    is_full  boolean;
    the_id   uuid;
    the_hash bytea;
begin
    update signal.quarantine
       set count = count + 1, last_seen_at = greatest(last_seen_at, desk_now), resolved_at = null, resolution = null
     where reason = document->>'reason' and body_hash = decode(document->>'body_hash', 'hex')
    returning count into seen;
    if found then
        return jsonb_build_object('count', seen, 'is_kept', true);
    end if;
    is_full := (select count(*) from signal.quarantine
                 where body is not null and first_seen_at >= (document->>'day_from')::timestamptz)
               >= (document->>'kept_max')::bigint;
    the_id := (document->>case when is_full then 'overflow_id' else 'quarantine_id' end)::uuid;
    the_hash := decode(case when is_full then repeat('00', 32) else document->>'body_hash' end, 'hex');
    insert into signal.quarantine (quarantine_id, source, reason, field, ticker, body, body_bytes, body_hash, first_seen_at, last_seen_at)
    values (the_id, (document->>'source')::signal.quarantine_source, document->>'reason',
            case when is_full then null else document->>'field' end,
            case when is_full then null else document->>'ticker' end,
            case when is_full then null else decode(document->>'body', 'hex') end,
            case when is_full then 0 else (document->>'body_bytes')::integer end,
            the_hash, desk_now, desk_now)
    on conflict do nothing
    returning count into seen;
    if not found then
        update signal.quarantine
           set count = count + 1, last_seen_at = greatest(last_seen_at, desk_now), resolved_at = null, resolution = null
         where quarantine_id = the_id or (reason = document->>'reason' and body_hash = the_hash)
        returning count into seen;
    end if;
    return jsonb_build_object('count', seen, 'is_kept', not is_full);
end
$$;
