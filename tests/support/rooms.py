"""A small room for the runtime's own tests: echo, keep and apply functions over one table."""

ROOM = """
create schema room;
create table room.kept (
    id int constraint kept_pkey primary key,
    note text,
    amount numeric constraint kept_amount_check check (amount >= 0)
);
create function room.echo(d jsonb) returns jsonb language sql as 'select d';
create function room.keep(d jsonb) returns jsonb language plpgsql as $$
begin
    insert into room.kept select (d->>'id')::int, d->>'note', (d->>'amount')::numeric;
    return jsonb_build_object('kept', d->>'id');
end $$;
create function room.fail(d jsonb) returns jsonb language plpgsql as $$
begin
    raise exception 'made to fail' using errcode = d->>'code', constraint = coalesce(d->>'constraint', '');
end $$;
create function room.wait(d jsonb) returns jsonb language plpgsql as $$
begin
    perform pg_sleep((d->>'seconds')::numeric);
    return '{}'::jsonb;
end $$;
create function room.bump(d jsonb) returns jsonb language plpgsql as $$
declare
    now_at numeric;
begin
    update room.kept set amount = amount + 1 where id = (d->>'id')::int returning amount into now_at;
    return jsonb_build_object('amount', now_at::text);
end $$;
"""
