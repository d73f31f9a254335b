-- An account is read in steps that cannot go wrong where nothing was ever counted, and no more of it than an answer changes.
--
-- On a young table, and in a session whose plans are as old as it is, every index that begins with account_id costs the planner
-- the same, and a join of a handful of keys may read the account once per key. So a key is looked up row by row, in a sub-select
-- whose order only the wanted index has (a span of one key instead of the key itself, where an equal key would leave an order that
-- another index has too): such a one is neither flattened into a join nor answered by another index (decision 0032). What an answer tells as it is stored is found by its hash, and not read.
-- Sources: mt5 specification, 2 and 7; performance.md, 1.

-- Take an account's fence and read what an answer about it touches:
-- {account_id, lease_token, tickets, told_tickets, told_positions, told_hashes, position_ids, symbols,
--  windows: [{from_msc, to_msc}], spans: [{from_msc, to_msc}], cash: null | {floor_msc, at_msc, near_ms}} ->
-- null when the lease is another's, else {row of mt5.account_rows, symbols, same, deals, trades, missing, missed, clocks, gaps,
-- last_check, cash}.
-- told_…: deals of an answer, with position and hash of content · same: those whose newest revision says just that and counts;
-- the others are read as if they and their positions stood among tickets and position_ids ·
-- deals: all revisions of the tickets, of every deal of the positions, of the tickets' stored positions, of live trades, and of
-- missing · trades: live ones and all episodes of those positions · missing: tickets that count inside the windows and are not
-- among those given · missed: what was missing before · clocks: [[ticket, msc]] of deals inside the spans · gaps: open ones ·
-- cash: see mt5.cash_sums. Lock first, read in following statements; always the account before its state, as operators do.
create or replace function mt5.load_account(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off set plan_cache_mode to force_generic_plan as $$
declare
    the_account constant uuid := (document->>'account_id')::uuid;
    asked       bigint[] := array(select jsonb_array_elements_text(document->'tickets')::bigint);
    names       text[] := array(select jsonb_array_elements_text(document->'symbols'));
    same        bigint[];
    positions   bigint[];
    tickets     bigint[];
    missing     bigint[];
    deals       jsonb;
    trades      jsonb;
    answer      jsonb;
begin
    perform from mt5.trading_accounts a where a.id = the_account for no key update;
    perform from mt5.account_sync_state s
     where s.account_id = the_account and s.lease_token = (document->>'lease_token')::bigint and s.lease_run_id is not null
       for update;
    if not found then
        return null;
    end if;
    same := array(
        select k.ticket::bigint
          from rows from (jsonb_array_elements_text(document->'told_tickets'), jsonb_array_elements_text(document->'told_hashes'))
               as k(ticket, content_hash)
         cross join lateral (select x.content_hash, x.withdrawn from mt5.deals x
                              where x.account_id = the_account and x.deal_ticket = k.ticket::bigint
                              order by x.revision desc limit 1) d
         where not d.withdrawn and d.content_hash = decode(k.content_hash, 'hex'));
    with other as materialized (
        select k.ticket::bigint as ticket, k.position::bigint as position_id
          from rows from (jsonb_array_elements_text(document->'told_tickets'),
                          jsonb_array_elements_text(document->'told_positions')) as k(ticket, position)
         where k.ticket::bigint not in (select unnest(same)))
    select asked || array(select o.ticket from other o),
           array(select jsonb_array_elements_text(document->'position_ids')::bigint
                 union select o.position_id from other o where o.position_id > 0)
      into asked, positions;
    positions := array(
        select unnest(positions)
        union select d.position_id
                from unnest(asked) k(ticket)
               cross join lateral (select x.position_id from mt5.deals x
                                    where x.account_id = the_account and x.deal_ticket = k.ticket order by x.revision) d
               where d.position_id > 0
        union select t.position_id from mt5.trades t where t.account_id = the_account and t.status <> 'closed');
    tickets := array(
        select unnest(asked)
        union select d.deal_ticket
                from unnest(positions) k(id)
               cross join lateral (select x.deal_ticket from mt5.deals x
                                    where x.account_id = the_account and x.position_id between k.id and k.id
                                    order by x.position_id, x.time_server_msc, x.deal_ticket) d
               where k.id > 0);
    missing := array(
        select d.deal_ticket
          from jsonb_to_recordset(document->'windows') as w(from_msc bigint, to_msc bigint)
         cross join lateral (select x.deal_ticket, x.revision, x.withdrawn from mt5.deals x
                              where x.account_id = the_account and x.time_server_msc >= w.from_msc and x.time_server_msc < w.to_msc
                              order by x.time_server_msc, x.deal_ticket) d
         where not d.withdrawn and d.deal_ticket not in (select unnest(asked)) and d.deal_ticket not in (select unnest(same))
           and d.revision = (select n.revision from mt5.deals n
                              where n.account_id = the_account and n.deal_ticket = d.deal_ticket order by n.revision desc limit 1)
         order by d.deal_ticket);
    select coalesce(jsonb_agg(to_jsonb(d) order by d.deal_ticket, d.revision), '[]'), array_cat(names, array_agg(distinct d.symbol))
      into deals, names
      from (select unnest(tickets) union select unnest(missing)) k(ticket)
     cross join lateral (select x.deal_ticket, x.revision, x.position_id, x.order_id, x.time_server_msc, x.deal_type, x.entry,
                                x.reason, x.symbol, x.volume, x.price, x.profit, x.commission, x.swap, x.fee, x.magic, x.comment,
                                x.external_id, x.extra, x.withdrawn, x.recorded_at
                           from mt5.deals x
                          where x.account_id = the_account and x.deal_ticket = k.ticket order by x.revision) d;
    select coalesce(jsonb_agg(to_jsonb(t) - '{tenant_id,updated_at}'::text[] order by t.position_id, t.episode), '[]'),
           array_cat(names, array_agg(distinct t.symbol))
      into trades, names
      from unnest(positions) k(id)
     cross join lateral (select x.* from mt5.trades x
                          where x.account_id = the_account and x.position_id = k.id order by x.episode) t;
    answer := mt5.account_rows(array[the_account])->0;
    return answer || jsonb_build_object(
        'same', to_jsonb(same),
        'deals', deals,
        'trades', trades,
        'symbols', coalesce((
            select jsonb_agg(to_jsonb(y) - 'fetched_at' order by y.symbol)
              from mt5.symbols y
             where y.server = answer->'account'->>'server' and y.symbol = any (names)), '[]'),
        'missing', to_jsonb(missing),
        'missed', coalesce((
            select jsonb_agg(to_jsonb(m) - '{account_id,tenant_id}'::text[] order by m.deal_ticket)
              from mt5.missed_deals m where m.account_id = the_account), '[]'),
        'clocks', coalesce((
            select jsonb_agg(jsonb_build_array(d.deal_ticket, d.time_server_msc) order by d.deal_ticket)
              from jsonb_to_recordset(document->'spans') as w(from_msc bigint, to_msc bigint)
             cross join lateral (
                   select x.deal_ticket, x.time_server_msc, x.revision from mt5.deals x
                    where x.account_id = the_account and x.time_server_msc >= w.from_msc and x.time_server_msc < w.to_msc
                    order by x.time_server_msc, x.deal_ticket) d
             where d.revision = (select n.revision from mt5.deals n
                                  where n.account_id = the_account and n.deal_ticket = d.deal_ticket
                                  order by n.revision desc limit 1)), '[]'),
        'gaps', coalesce((
            select jsonb_agg(to_jsonb(g) - '{account_id,tenant_id}'::text[] order by g.from_msc, g.opened_at)
              from mt5.history_gaps g
             where g.account_id = the_account and g.closed_at is null), '[]'),
        'last_check', (
            select to_jsonb(c) - '{account_id,tenant_id,run_id}'::text[]
              from mt5.cash_checks c where c.account_id = the_account order by c.checked_at desc limit 1),
        'cash', case when jsonb_typeof(document->'cash') = 'object' then mt5.cash_sums(the_account, document->'cash') end);
end
$$;

-- What the stored deals of an account add up to, from the floor on: {floor_msc, at_msc, near_ms} -> {amount, bonus, credit, near,
-- first}: sums of what is near_ms and more before at_msc, amount without the deal types of bonus and credit; the deals within
-- near_ms of it, in order; the first of all. A deal: {deal_ticket, time_msc, deal_type, amount}. One walk of the account's deals by
-- time; nothing is kept but what is near.
create or replace function mt5.cash_sums(the_account uuid, asked jsonb) returns jsonb
language plpgsql stable set enable_seqscan to off set plan_cache_mode to force_generic_plan as $$
declare
    floor_msc constant bigint := coalesce((asked->>'floor_msc')::bigint, 0);
    at_msc    constant bigint := (asked->>'at_msc')::bigint;
    near_ms   constant bigint := (asked->>'near_ms')::bigint;
    answer    jsonb;
begin
    select jsonb_build_object(
               'amount', coalesce(sum(c.amount) filter (where c.time_msc <= at_msc - near_ms and c.deal_type not in (3, 6)), 0),
               'bonus', coalesce(sum(c.amount) filter (where c.time_msc <= at_msc - near_ms and c.deal_type = 6), 0),
               'credit', coalesce(sum(c.amount) filter (where c.time_msc <= at_msc - near_ms and c.deal_type = 3), 0),
               'near', coalesce(jsonb_agg(jsonb_build_object('deal_ticket', c.deal_ticket, 'time_msc', c.time_msc,
                                                             'deal_type', c.deal_type, 'amount', c.amount)
                                          order by c.time_msc, c.deal_ticket)
                                filter (where c.time_msc > at_msc - near_ms), '[]'))
      into answer
      from (select d.time_server_msc as time_msc, d.deal_ticket, d.revision, d.withdrawn, d.deal_type,
                   d.profit + d.commission + d.swap + d.fee as amount
              from mt5.deals d
             where d.account_id = the_account and d.time_server_msc >= floor_msc and d.time_server_msc <= at_msc + near_ms
             order by d.time_server_msc, d.deal_ticket) c
     where not c.withdrawn
       and c.revision = (select n.revision from mt5.deals n
                          where n.account_id = the_account and n.deal_ticket = c.deal_ticket order by n.revision desc limit 1);
    return answer || jsonb_build_object('first', (
        select jsonb_build_object('deal_ticket', d.deal_ticket, 'time_msc', d.time_server_msc, 'deal_type', d.deal_type,
                                  'amount', d.profit + d.commission + d.swap + d.fee)
          from mt5.deals d
         where d.account_id = the_account and d.time_server_msc >= floor_msc and d.time_server_msc <= at_msc + near_ms
           and not d.withdrawn
           and d.revision = (select n.revision from mt5.deals n
                              where n.account_id = the_account and n.deal_ticket = d.deal_ticket order by n.revision desc limit 1)
         order by d.time_server_msc, d.deal_ticket
         limit 1));
end
$$;
