-- Whoever owns the tables sees their rows, also where the wall is forced and the owner is no superuser: views and functions with
-- their owner's rights, materialized views and a dump read as the owner. In the cloud nobody is a superuser, and without these
-- policies a view of room mt5 would be empty there and nothing would say so. Functions never become the owner: it is granted to
-- the migration's login alone (infra/database/roles.py). A table that is walled later brings its own policy (tested).
-- Source: decision 0061.

do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'fillbook_owner') then
        create role fillbook_owner nologin createrole;
    end if;
exception when duplicate_object or unique_violation then
    null;
end
$$;

do $$
declare
    walled record;
begin
    for walled in
        select c.oid::regclass as named, c.relname
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where c.relforcerowsecurity
          and n.nspname = any (array['outbox', 'ledger', 'signal', 'ibkr', 'mt5', 'metrics', 'replay', 'notify', 'tracker'])
        order by n.nspname, c.relname
    loop
        execute format('create policy %I on %s to fillbook_owner using (true) with check (true)', walled.relname || '_owner',
                       walled.named);
    end loop;
end
$$;

-- What an administrator made before there was an owner was closed by that administrator's defaults; these are the owner's.
alter default privileges for role fillbook_owner revoke execute on routines from public;
alter default privileges for role fillbook_owner revoke usage on types from public;
