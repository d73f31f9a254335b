"""What a database holds, as sorted lines that can be compared: every object we write, with its rights and comments."""

from __future__ import annotations

from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement

_CATALOG = """
with ours as (
    select oid, nspname from pg_namespace
    where nspname !~ '^pg_' and nspname <> 'information_schema'
), relations as (
    select c.*, o.nspname from pg_class c join ours o on o.oid = c.relnamespace
    where c.relname not in ('migration_version', 'migration_version_pkc')
), rights as (
    select format('%s.%s', nspname, relname) as name, unnest(relacl)::text as acl from relations
    union all
    select format('%s.%s.%s', nspname, relname, a.attname), unnest(a.attacl)::text
    from relations r join pg_attribute a on a.attrelid = r.oid
    union all
    select format('function %s', p.oid::regprocedure), unnest(p.proacl)::text from pg_proc p join ours o on o.oid = p.pronamespace
    union all
    select format('schema %s', nspname), unnest(nspacl)::text from pg_namespace where oid in (select oid from ours)
    union all
    select format('type %s', t.oid::regtype), unnest(t.typacl)::text from pg_type t join ours o on o.oid = t.typnamespace
    union all
    select format('default %s %s', d.defaclobjtype, coalesce(n.nspname, '')), unnest(d.defaclacl)::text
    from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace
)
select line from (
    select format('schema %s', nspname) as line from ours
    union all
    select format('%s %s.%s rls=%s/%s %s', relkind, nspname, relname, relrowsecurity, relforcerowsecurity, reloptions)
    from relations
    union all
    select format('column %s.%s.%s %s %s null=%s default=%s identity=%s generated=%s compression=%s', nspname, relname, a.attnum,
        a.attname, format_type(a.atttypid, a.atttypmod), not a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attidentity,
        a.attgenerated, a.attcompression)
    from relations r join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where r.relkind in ('r', 'p', 'v', 'm')
    union all
    select format('constraint %s.%s %s %s', r.nspname, r.relname, k.conname, pg_get_constraintdef(k.oid))
    from relations r join pg_constraint k on k.conrelid = r.oid
    union all
    select format('index %s', pg_get_indexdef(oid)) from relations where relkind in ('i', 'I')
    union all
    select format('view %s.%s %s', nspname, relname, pg_get_viewdef(oid, true)) from relations where relkind in ('v', 'm')
    union all
    select format('function %s', pg_get_functiondef(p.oid)) from pg_proc p join ours o on o.oid = p.pronamespace
    where p.prokind in ('f', 'p')
    union all
    select format('type %s %s %s', t.oid::regtype, t.typtype, array(select enumlabel from pg_enum where enumtypid = t.oid
        order by enumsortorder))
    from pg_type t join ours o on o.oid = t.typnamespace where t.typtype in ('e', 'd')
    union all
    select format('policy %s', to_jsonb(p)) from pg_policies p
    union all
    select format('trigger %s', pg_get_triggerdef(t.oid)) from pg_trigger t join relations r on r.oid = t.tgrelid
    where not t.tgisinternal
    union all
    select format('right %s %s', name, acl) from rights
    union all
    select format('comment %s %s', pg_describe_object(classoid, objoid, objsubid), description)
    from pg_description d
    where pg_describe_object(classoid, objoid, objsubid) !~ 'migration_version'
      and (objoid in (select oid from relations) or objoid in (select oid from ours)
        or objoid in (select p.oid from pg_proc p join ours o on o.oid = p.pronamespace)
        or objoid in (select t.oid from pg_type t join ours o on o.oid = t.typnamespace)
        or objoid in (select k.oid from pg_constraint k join ours o on o.oid = k.connamespace))
) lines order by line
"""


def catalog(db: Database) -> list[str]:
    """Return one line for each object, right and comment of the database, without the migration version."""
    with db.transaction(read_only=True) as tx:
        return [row["line"] for row in tx.query(statement(_CATALOG))]
