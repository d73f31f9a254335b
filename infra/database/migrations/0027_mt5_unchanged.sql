-- What an account costs that does nothing: no row of a page is read that came before, no sum is taken again of what is old, and no
-- table is joined with the few keys of an answer.
--
-- told_…: the last whole page of deals, as it can be known again. sums_…: what the deals of an account add up to from
-- sums_floor_msc to sums_until_msc, both inclusive; a deal that comes for this span takes them away, and the next check takes them
-- anew. A rebuild holds them against the deals. Keys are looked up row by row (decision 0032). Sources: mt5 specification, 2 and 7.

alter table mt5.account_sync_state
    add column told_rows_hash bytea,
    add column told_content   bytea,
    add column told_count     integer,
    add column told_first_msc bigint,
    add column told_last_msc  bigint,
    add column sums_floor_msc bigint,
    add column sums_until_msc bigint,
    add column sums_amount    numeric,
    add column sums_bonus     numeric,
    add column sums_credit    numeric,
    add constraint account_sync_state_told_ck
        check (num_nulls(told_rows_hash, told_content, told_count, told_first_msc, told_last_msc) in (0, 5)),
    add constraint account_sync_state_sums_ck
        check (num_nulls(sums_floor_msc, sums_until_msc, sums_amount, sums_bonus, sums_credit) in (0, 5));
comment on column mt5.account_sync_state.told_rows_hash is 'SHA-256 of the bytes in which the deals of the last whole page came.';
comment on column mt5.account_sync_state.told_content is 'SHA-256 of what they said, as it is part of state_digest.';
comment on column mt5.account_sync_state.sums_amount is 'Of deals that count, neither bonus nor credit: profit + commission + swap + fee.';

-- What a worker needs of accounts that it holds: account, state and clock rule, in the order asked.
-- is_rule_measured: an answer of the server was taken in before, so that its rule is more than a guess.
create or replace function mt5.account_rows(account_ids uuid[]) returns jsonb
language sql stable set enable_seqscan to off as $$
    select coalesce(jsonb_agg(jsonb_build_object(
               'account', jsonb_build_object(
                   'account_id', a.id, 'tenant_id', a.tenant_id, 'server', a.server, 'login', a.login_number,
                   'broker_name', a.broker_name, 'instance_key', a.instance_key, 'service_account_id', a.mt5_service_account_id,
                   'book_id', a.book_id, 'is_active', a.is_active, 'currency', a.currency, 'currency_digits', a.currency_digits,
                   'margin_mode', a.margin_mode, 'sync_failure_count', a.sync_failure_count, 'last_error_code', a.last_error_code,
                   'connection_status', a.connection_status, 'credentials_version', a.credentials_version,
                   'backfill_target', a.backfill_target, 'last_sync_at', a.last_sync_at,
                   'last_successful_sync_at', a.last_successful_sync_at),
               'state', to_jsonb(s) - '{account_id,tenant_id,lease_run_id,lease_until,last_manual_at,sums_floor_msc,sums_until_msc,
                                            sums_amount,sums_bonus,sums_credit}'::text[],
               'rule', to_jsonb(r),
               'is_rule_measured', a.info_at is not null or exists (
                   select from mt5.trading_accounts o
                    where o.is_active and o.instance_key = a.instance_key and o.server = a.server and o.info_at is not null))
               order by k.place), '[]')
      from unnest(account_ids) with ordinality as k(id, place)
     cross join lateral (select x.* from mt5.trading_accounts x where x.id = k.id order by x.id limit 1) a
     cross join lateral (select x.* from mt5.account_sync_state x where x.account_id = k.id order by x.account_id limit 1) s
     cross join lateral (select x.* from mt5.servers x where x.server = a.server order by x.server limit 1) r
$$;

-- Count outcomes in their hours, and log those that are to be logged, of the accounts held: rows of {account_id, id, is_logged,
-- sync_type, started_at, completed_at, status, trades_synced, error_message, error_code, duration_ms, attempts, steps}.
create or replace function mt5.log_outcomes(the_run uuid, desk_now timestamptz, outcomes jsonb, held uuid[]) returns void
language plpgsql volatile set enable_seqscan to off as $$
begin
    insert into mt5.sync_logs (account_id, tenant_id, id, run_id, sync_type, started_at, completed_at, status, trades_synced,
                               error_message, error_code, duration_ms, attempts, steps, created_at)
    select r.account_id, a.tenant_id, r.id, the_run, r.sync_type, r.started_at, r.completed_at, r.status, r.trades_synced,
           r.error_message, r.error_code, r.duration_ms, r.attempts, r.steps, desk_now
      from jsonb_to_recordset(outcomes) as r(
               account_id uuid, id uuid, is_logged boolean, sync_type mt5.sync_type, started_at timestamptz,
               completed_at timestamptz, status mt5.sync_status, trades_synced integer, error_message text, error_code text,
               duration_ms integer, attempts integer, steps jsonb)
     cross join lateral (select x.tenant_id from mt5.trading_accounts x where x.id = r.account_id order by x.id limit 1) a
     where r.is_logged and r.account_id = any (held)
    on conflict on constraint sync_logs_pk do nothing;
    insert into mt5.sync_hours as h (account_id, tenant_id, hour, runs, successes, partials, failures, skips, duration_ms_max,
                                     trades_synced, duration_ms_sum)
    select r.account_id, a.tenant_id, date_trunc('hour', r.started_at, 'UTC'), 1, (r.status = 'success')::integer,
           (r.status = 'partial')::integer, (r.status = 'failed')::integer, (r.status = 'skipped')::integer, r.duration_ms,
           r.trades_synced, r.duration_ms
      from jsonb_to_recordset(outcomes) as r(
               account_id uuid, started_at timestamptz, status mt5.sync_status, trades_synced integer, duration_ms integer)
     cross join lateral (select x.tenant_id from mt5.trading_accounts x where x.id = r.account_id order by x.id limit 1) a
     where r.account_id = any (held)
     order by r.account_id
    on conflict on constraint sync_hours_pk do update
       set runs = h.runs + 1, successes = h.successes + excluded.successes, partials = h.partials + excluded.partials,
           failures = h.failures + excluded.failures, skips = h.skips + excluded.skips,
           duration_ms_max = greatest(h.duration_ms_max, excluded.duration_ms_max),
           trades_synced = h.trades_synced + excluded.trades_synced,
           duration_ms_sum = h.duration_ms_sum + excluded.duration_ms_sum;
end
$$;

-- What the stored deals of an account add up to, from the floor on: {floor_msc, at_msc, near_ms} -> {amount, bonus, credit, near,
-- first}: sums of what is near_ms and more before at_msc, amount without the deal types of bonus and credit; the deals within
-- near_ms of it, in order; the first of all. A deal: {deal_ticket, time_msc, deal_type, amount}. Sums of what is older than two
-- hours are kept, and moved on once an hour: walked by time is what came since. The account's state is locked by the caller.
create or replace function mt5.cash_sums(the_account uuid, asked jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off set plan_cache_mode to force_generic_plan as $$
declare
    hour_ms   constant bigint := 3600000;
    floor_msc constant bigint := coalesce((asked->>'floor_msc')::bigint, 0);
    at_msc    constant bigint := (asked->>'at_msc')::bigint;
    near_ms   constant bigint := (asked->>'near_ms')::bigint;
    old_msc   constant bigint := (at_msc - near_ms) / hour_ms * hour_ms - 2 * hour_ms;
    from_msc  bigint := floor_msc;
    kept      mt5.account_sync_state;
    recent    record;
begin
    select * into kept from mt5.account_sync_state s where s.account_id = the_account;
    if kept.sums_floor_msc = floor_msc and kept.sums_until_msc <= at_msc - near_ms then
        from_msc := kept.sums_until_msc + 1;
    else
        kept.sums_amount := 0;
        kept.sums_bonus := 0;
        kept.sums_credit := 0;
    end if;
    select coalesce(sum(c.amount) filter (where c.is_past and c.deal_type not in (3, 6)), 0) as amount,
           coalesce(sum(c.amount) filter (where c.is_past and c.deal_type = 6), 0) as bonus,
           coalesce(sum(c.amount) filter (where c.is_past and c.deal_type = 3), 0) as credit,
           coalesce(sum(c.amount) filter (where c.time_msc <= old_msc and c.deal_type not in (3, 6)), 0) as old_amount,
           coalesce(sum(c.amount) filter (where c.time_msc <= old_msc and c.deal_type = 6), 0) as old_bonus,
           coalesce(sum(c.amount) filter (where c.time_msc <= old_msc and c.deal_type = 3), 0) as old_credit,
           coalesce(jsonb_agg(jsonb_build_object('deal_ticket', c.deal_ticket, 'time_msc', c.time_msc,
                                                 'deal_type', c.deal_type, 'amount', c.amount)
                              order by c.time_msc, c.deal_ticket)
                    filter (where not c.is_past), '[]') as near
      into recent
      from (select d.time_server_msc as time_msc, d.deal_ticket, d.revision, d.withdrawn, d.deal_type,
                   d.profit + d.commission + d.swap + d.fee as amount, d.time_server_msc <= at_msc - near_ms as is_past
              from mt5.deals d
             where d.account_id = the_account and d.time_server_msc >= from_msc and d.time_server_msc <= at_msc + near_ms
             order by d.time_server_msc, d.deal_ticket) c
     where not c.withdrawn
       and c.revision = (select n.revision from mt5.deals n
                          where n.account_id = the_account and n.deal_ticket = c.deal_ticket order by n.revision desc limit 1);
    if old_msc >= from_msc then
        update mt5.account_sync_state s
           set sums_floor_msc = floor_msc, sums_until_msc = old_msc, sums_amount = kept.sums_amount + recent.old_amount,
               sums_bonus = kept.sums_bonus + recent.old_bonus, sums_credit = kept.sums_credit + recent.old_credit
         where s.account_id = the_account;
    end if;
    return jsonb_build_object(
        'amount', kept.sums_amount + recent.amount, 'bonus', kept.sums_bonus + recent.bonus,
        'credit', kept.sums_credit + recent.credit, 'near', recent.near,
        'first', (
            select jsonb_build_object('deal_ticket', d.deal_ticket, 'time_msc', d.time_server_msc, 'deal_type', d.deal_type,
                                      'amount', d.profit + d.commission + d.swap + d.fee)
              from mt5.deals d
             where d.account_id = the_account and d.time_server_msc >= floor_msc and d.time_server_msc <= at_msc + near_ms
               and not d.withdrawn
               and d.revision = (select n.revision from mt5.deals n
                                  where n.account_id = the_account and n.deal_ticket = d.deal_ticket
                                  order by n.revision desc limit 1)
             order by d.time_server_msc, d.deal_ticket
             limit 1));
end
$$;

-- Hold the kept sums of an account against all of its deals: {account_id, lease_token} -> whether they agree, null where none are
-- kept. Those that do not are forgotten. For whoever holds the account.
create function mt5.check_sums(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off set plan_cache_mode to force_generic_plan as $$
declare
    the_account constant uuid := (document->>'account_id')::uuid;
    kept        mt5.account_sync_state;
    is_equal    boolean;
begin
    select * into kept from mt5.account_sync_state s
     where s.account_id = the_account and s.lease_token = (document->>'lease_token')::bigint and s.lease_run_id is not null
       for update;
    if kept.sums_until_msc is null then
        return null;
    end if;
    select (coalesce(sum(c.amount) filter (where c.deal_type not in (3, 6)), 0),
            coalesce(sum(c.amount) filter (where c.deal_type = 6), 0), coalesce(sum(c.amount) filter (where c.deal_type = 3), 0))
           = (kept.sums_amount, kept.sums_bonus, kept.sums_credit)
      into is_equal
      from (select d.deal_ticket, d.revision, d.withdrawn, d.deal_type, d.profit + d.commission + d.swap + d.fee as amount
              from mt5.deals d
             where d.account_id = the_account and d.time_server_msc >= kept.sums_floor_msc
               and d.time_server_msc <= kept.sums_until_msc
             order by d.time_server_msc, d.deal_ticket) c
     where not c.withdrawn
       and c.revision = (select n.revision from mt5.deals n
                          where n.account_id = the_account and n.deal_ticket = c.deal_ticket order by n.revision desc limit 1);
    if not is_equal then
        update mt5.account_sync_state s
           set sums_floor_msc = null, sums_until_msc = null, sums_amount = null, sums_bonus = null, sums_credit = null
         where s.account_id = the_account;
    end if;
    return to_jsonb(is_equal);
end
$$;

-- Write what follows from an answer about one account; raises lease_token when the lease is another's. Every list is given; rows
-- that would not change stay unwritten, so that updated_at only moves with another column. {account_id, lease_token, run_id, now,
--  deals, trades, trades_removed: [{position_id, episode}], cash_operations, cash_removed: [ticket], cash_check: null | row,
--  missed: null (as it stands) | all rows,
--  gaps_opened, gaps_closed: [{from_msc, opened_at}], symbols, account, state, outcome: null | row of mt5.log_outcomes} ->
-- {deals_inserted, trades_changed, cash_changed}. Without an outcome the account's work goes on and the lease stays.
create or replace function mt5.apply_account(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off set plan_cache_mode to force_generic_plan as $$
declare
    the_account    constant uuid := (document->>'account_id')::uuid;
    the_run        constant uuid := (document->>'run_id')::uuid;
    desk_now       constant timestamptz := (document->>'now')::timestamptz;
    is_over        constant boolean := jsonb_typeof(document->'outcome') = 'object';
    the_tenant     text;
    the_server     text;
    deals_inserted integer := 0;
    trades_removed integer := 0;
    trades_changed integer := 0;
    cash_removed   integer := 0;
    cash_changed   integer := 0;
    is_old         boolean := false;
begin
    select a.tenant_id, a.server into the_tenant, the_server
      from mt5.trading_accounts a where a.id = the_account for no key update;
    perform from mt5.account_sync_state s
     where s.account_id = the_account and s.lease_token = (document->>'lease_token')::bigint and s.lease_run_id is not null
       for update;
    if not found then
        raise exception 'another worker holds the account' using errcode = 'P0001', constraint = 'lease_token';
    end if;

    if jsonb_array_length(document->'deals') > 0 then
        insert into mt5.deals (account_id, tenant_id, deal_ticket, revision, position_id, order_id, time_server_msc, deal_type, entry,
                               reason, symbol, volume, price, profit, commission, swap, fee, magic, comment, external_id, extra,
                               withdrawn, content_hash, first_seen_run, recorded_at)
        select the_account, the_tenant, r.deal_ticket, r.revision, r.position_id, r.order_id, r.time_server_msc, r.deal_type,
               r.entry, r.reason, r.symbol, r.volume, r.price, r.profit, r.commission, r.swap, r.fee, r.magic, r.comment,
               r.external_id, r.extra, r.withdrawn, decode(r.content_hash, 'hex'), the_run, r.recorded_at
          from jsonb_to_recordset(document->'deals') as r(
                   deal_ticket bigint, revision integer, position_id bigint, order_id bigint, time_server_msc bigint,
                   deal_type smallint, entry smallint, reason smallint, symbol text, volume numeric, price numeric,
                   profit numeric, commission numeric, swap numeric, fee numeric, magic bigint, comment text, external_id text,
                   extra jsonb, withdrawn boolean, content_hash text, recorded_at timestamptz)
        on conflict on constraint deals_pk do nothing;
        get diagnostics deals_inserted = row_count;
        -- one that lies in the span of the kept sums, or was in it before
        is_old := exists (
            select from mt5.account_sync_state s
             cross join jsonb_to_recordset(document->'deals') as r(deal_ticket bigint, revision integer, time_server_msc bigint)
             where s.account_id = the_account
               and (r.time_server_msc <= s.sums_until_msc
                    or r.revision > 1 and exists (select from mt5.deals x
                                                   where x.account_id = the_account and x.deal_ticket = r.deal_ticket
                                                     and x.time_server_msc <= s.sums_until_msc)));
    end if;

    if jsonb_array_length(document->'trades_removed') > 0 then
        delete from mt5.trades t
         where t.ctid = any (array(
                   select o.ctid
                     from jsonb_to_recordset(document->'trades_removed') as r(position_id bigint, episode integer)
                    cross join lateral (select x.ctid, x.episode from mt5.trades x
                                         where x.account_id = the_account and x.position_id between r.position_id and r.position_id
                                         order by x.position_id, x.episode) o
                    where o.episode = r.episode));
        get diagnostics trades_removed = row_count;
    end if;
    if jsonb_array_length(document->'trades') > 0 then
        insert into mt5.trades as t (
                   account_id, tenant_id, position_id, episode, id, ticket, symbol, symbol_norm, type, volume, open_volume,
                   open_price, close_price, open_time, close_time, stop_loss, take_profit, current_price, profit, swap,
                   commission, fee, realized_profit, realized_swap, net_pnl, status, comment, magic, close_reason,
                   entry_complete, identity_quality, source_trade_id, pending_polls, snapshot_msc, last_deal_msc,
                   ledger_state, updated_at)
        select the_account, the_tenant, r.position_id, r.episode, r.id, r.ticket, r.symbol, r.symbol_norm, r.type, r.volume,
               r.open_volume, r.open_price, r.close_price, r.open_time, r.close_time, r.stop_loss, r.take_profit,
               r.current_price, r.profit, r.swap, r.commission, r.fee, r.realized_profit, r.realized_swap, r.net_pnl, r.status,
               r.comment, r.magic, r.close_reason, r.entry_complete, r.identity_quality, r.source_trade_id, r.pending_polls,
               r.snapshot_msc, r.last_deal_msc, r.ledger_state, desk_now
          from jsonb_to_recordset(document->'trades') as r(
                   position_id bigint, episode integer, id uuid, ticket bigint, symbol text, symbol_norm text,
                   type mt5.trade_side, volume numeric, open_volume numeric, open_price numeric, close_price numeric,
                   open_time timestamptz, close_time timestamptz, stop_loss numeric, take_profit numeric,
                   current_price numeric, profit numeric, swap numeric, commission numeric, fee numeric,
                   realized_profit numeric, realized_swap numeric, net_pnl numeric, status mt5.trade_status, comment text,
                   magic bigint, close_reason smallint, entry_complete boolean, identity_quality mt5.identity_quality,
                   source_trade_id text, pending_polls integer, snapshot_msc bigint, last_deal_msc bigint,
                   ledger_state mt5.ledger_state)
        on conflict on constraint trades_pk do update
           set ticket = excluded.ticket, symbol = excluded.symbol, symbol_norm = excluded.symbol_norm, type = excluded.type,
               volume = excluded.volume, open_volume = excluded.open_volume, open_price = excluded.open_price,
               close_price = excluded.close_price, open_time = excluded.open_time, close_time = excluded.close_time,
               stop_loss = excluded.stop_loss, take_profit = excluded.take_profit, current_price = excluded.current_price,
               profit = excluded.profit, swap = excluded.swap, commission = excluded.commission, fee = excluded.fee,
               realized_profit = excluded.realized_profit, realized_swap = excluded.realized_swap, net_pnl = excluded.net_pnl,
               status = excluded.status, comment = excluded.comment, magic = excluded.magic,
               close_reason = excluded.close_reason, entry_complete = excluded.entry_complete,
               identity_quality = excluded.identity_quality, source_trade_id = excluded.source_trade_id,
               pending_polls = excluded.pending_polls, snapshot_msc = excluded.snapshot_msc,
               last_deal_msc = excluded.last_deal_msc, ledger_state = excluded.ledger_state, updated_at = excluded.updated_at
         where (t.ticket, t.symbol, t.symbol_norm, t.type, t.volume, t.open_volume, t.open_price, t.close_price, t.open_time,
                t.close_time, t.stop_loss, t.take_profit, t.current_price, t.profit, t.swap, t.commission, t.fee,
                t.realized_profit, t.realized_swap, t.net_pnl, t.status, t.comment, t.magic, t.close_reason, t.entry_complete,
                t.identity_quality, t.source_trade_id, t.pending_polls, t.snapshot_msc, t.last_deal_msc, t.ledger_state)
               is distinct from
               (excluded.ticket, excluded.symbol, excluded.symbol_norm, excluded.type, excluded.volume, excluded.open_volume,
                excluded.open_price, excluded.close_price, excluded.open_time, excluded.close_time, excluded.stop_loss,
                excluded.take_profit, excluded.current_price, excluded.profit, excluded.swap, excluded.commission, excluded.fee,
                excluded.realized_profit, excluded.realized_swap, excluded.net_pnl, excluded.status, excluded.comment,
                excluded.magic, excluded.close_reason, excluded.entry_complete, excluded.identity_quality,
                excluded.source_trade_id, excluded.pending_polls, excluded.snapshot_msc, excluded.last_deal_msc,
                excluded.ledger_state);
        get diagnostics trades_changed = row_count;
    end if;

    if jsonb_array_length(document->'cash_removed') > 0 then
        delete from mt5.cash_operations o
         where o.account_id = the_account
           and o.deal_ticket = any (array(select k.v::bigint from jsonb_array_elements_text(document->'cash_removed') k(v)));
        get diagnostics cash_removed = row_count;
    end if;
    if jsonb_array_length(document->'cash_operations') > 0 then
        insert into mt5.cash_operations as o (account_id, tenant_id, deal_ticket, kind, amount, occurred_at, comment)
        select the_account, the_tenant, r.deal_ticket, r.kind, r.amount, r.occurred_at, r.comment
          from jsonb_to_recordset(document->'cash_operations') as r(
                   deal_ticket bigint, kind mt5.cash_kind, amount numeric, occurred_at timestamptz, comment text)
        on conflict on constraint cash_operations_pk do update
           set kind = excluded.kind, amount = excluded.amount, occurred_at = excluded.occurred_at, comment = excluded.comment
         where (o.kind, o.amount, o.occurred_at, o.comment)
               is distinct from (excluded.kind, excluded.amount, excluded.occurred_at, excluded.comment);
        get diagnostics cash_changed = row_count;
    end if;
    if jsonb_typeof(document->'cash_check') = 'object' then
        insert into mt5.cash_checks (account_id, tenant_id, checked_at, run_id, balance, expected, gap, result)
        select the_account, the_tenant, r.checked_at, the_run, r.balance, r.expected, r.gap, r.result
          from jsonb_to_record(document->'cash_check') as r(
                   checked_at timestamptz, balance numeric, expected numeric, gap numeric, result mt5.cash_result)
        on conflict on constraint cash_checks_pk do nothing;
    end if;

    if jsonb_typeof(document->'missed') = 'array' then
        delete from mt5.missed_deals m
         where m.account_id = the_account
           and not exists (select from jsonb_to_recordset(document->'missed') as r(deal_ticket bigint)
                            where r.deal_ticket = m.deal_ticket);
        insert into mt5.missed_deals as m (account_id, tenant_id, deal_ticket, first_missed_at, reads)
        select the_account, the_tenant, r.deal_ticket, r.first_missed_at, r.reads
          from jsonb_to_recordset(document->'missed') as r(deal_ticket bigint, first_missed_at timestamptz, reads integer)
        on conflict on constraint missed_deals_pk do update
           set first_missed_at = excluded.first_missed_at, reads = excluded.reads
         where (m.first_missed_at, m.reads) is distinct from (excluded.first_missed_at, excluded.reads);
    end if;
    if jsonb_array_length(document->'gaps_closed') > 0 then
        update mt5.history_gaps g set closed_at = desk_now
         where g.closed_at is null
           and g.ctid = any (array(
                   select o.ctid
                     from jsonb_to_recordset(document->'gaps_closed') as r(from_msc bigint, opened_at timestamptz)
                    cross join lateral (select x.ctid from mt5.history_gaps x
                                         where x.account_id = the_account and x.from_msc = r.from_msc and x.opened_at = r.opened_at
                                         order by x.from_msc, x.opened_at limit 1) o));
    end if;
    if jsonb_array_length(document->'gaps_opened') > 0 then
        insert into mt5.history_gaps (account_id, tenant_id, from_msc, to_msc, opened_at, cause)
        select the_account, the_tenant, r.from_msc, r.to_msc, r.opened_at, r.cause
          from jsonb_to_recordset(document->'gaps_opened') as r(
                   from_msc bigint, to_msc bigint, opened_at timestamptz, cause mt5.gap_cause)
        on conflict on constraint history_gaps_pk do nothing;
    end if;
    if jsonb_array_length(document->'symbols') > 0 then
        insert into mt5.symbols as y (server, symbol, symbol_norm, contract_size, digits, currency_profit, fetched_at)
        select the_server, r.symbol, r.symbol_norm, r.contract_size, r.digits, r.currency_profit, desk_now
          from jsonb_to_recordset(document->'symbols') as r(
                   symbol text, symbol_norm text, contract_size numeric, digits smallint, currency_profit text)
         order by r.symbol
        on conflict on constraint symbols_pk do update
           set symbol_norm = excluded.symbol_norm, contract_size = coalesce(excluded.contract_size, y.contract_size),
               digits = coalesce(excluded.digits, y.digits), fetched_at = excluded.fetched_at,
               currency_profit = coalesce(excluded.currency_profit, y.currency_profit)
         where (y.symbol_norm, y.contract_size, y.digits, y.currency_profit)
               is distinct from (excluded.symbol_norm, coalesce(excluded.contract_size, y.contract_size),
                                 coalesce(excluded.digits, y.digits), coalesce(excluded.currency_profit, y.currency_profit));
    end if;

    update mt5.trading_accounts a
       set currency = coalesce(i.currency, a.currency), currency_digits = coalesce(i.currency_digits, a.currency_digits),
           leverage = coalesce(i.leverage, a.leverage), margin_mode = coalesce(i.margin_mode, a.margin_mode),
           balance = case when r.info is null then a.balance else i.balance end,
           equity = case when r.info is null then a.equity else i.equity end,
           margin = case when r.info is null then a.margin else i.margin end,
           free_margin = case when r.info is null then a.free_margin else i.margin_free end,
           margin_level = case when r.info is null then a.margin_level else i.margin_level end,
           credit = case when r.info is null then a.credit else i.credit end,
           floating_profit = case when r.info is null then a.floating_profit else i.profit end,
           info_at = coalesce(r.info_at, a.info_at), positions_at = coalesce(r.positions_at, a.positions_at),
           last_sync_at = coalesce(r.last_sync_at, a.last_sync_at),
           last_successful_sync_at = coalesce(r.last_successful_sync_at, a.last_successful_sync_at),
           sync_failure_count = r.sync_failure_count, last_error_code = r.last_error_code,
           last_connection_error = r.last_connection_error, connection_status = r.connection_status, updated_at = desk_now
      from jsonb_to_record(document->'account') as r(
               info jsonb, info_at timestamptz, positions_at timestamptz, last_sync_at timestamptz,
               last_successful_sync_at timestamptz, sync_failure_count integer, last_error_code text,
               last_connection_error text, connection_status mt5.connection_status)
     cross join lateral jsonb_to_record(coalesce(r.info, '{}')) as i(
               balance numeric, equity numeric, margin numeric, margin_free numeric, margin_level numeric, credit numeric,
               profit numeric, leverage integer, currency text, currency_digits smallint, margin_mode smallint)
     where a.id = the_account;

    update mt5.account_sync_state s
       set next_due_at = r.next_due_at, last_deal_at = r.last_deal_at,
           history_until_msc = greatest(s.history_until_msc, r.history_until_msc), history_floor_msc = r.history_floor_msc,
           page_from_msc = r.page_from_msc, page_to_msc = r.page_to_msc, page_cursor = r.page_cursor,
           backfill_state = r.backfill_state, empty_chunks = r.empty_chunks, cash_gap_runs = r.cash_gap_runs,
           auth_failure_count = r.auth_failure_count, auth_credentials_version = r.auth_credentials_version,
           state_digest = decode(r.state_digest, 'hex'), told_rows_hash = decode(r.told_rows_hash, 'hex'),
           told_content = decode(r.told_content, 'hex'), told_count = r.told_count, told_first_msc = r.told_first_msc,
           told_last_msc = r.told_last_msc, opening_balance = r.opening_balance,
           sums_floor_msc = case when not is_old then s.sums_floor_msc end,
           sums_until_msc = case when not is_old then s.sums_until_msc end,
           sums_amount = case when not is_old then s.sums_amount end, sums_bonus = case when not is_old then s.sums_bonus end,
           sums_credit = case when not is_old then s.sums_credit end,
           opening_proven = r.opening_proven, has_open_positions = r.has_open_positions, cash_state = r.cash_state,
           last_run_id = case when is_over then the_run else s.last_run_id end,
           lease_run_id = case when is_over then null else s.lease_run_id end,
           lease_until = case when is_over then null else s.lease_until end
      from jsonb_to_record(document->'state') as r(
               next_due_at timestamptz, last_deal_at timestamptz, history_until_msc bigint, history_floor_msc bigint,
               page_from_msc bigint, page_to_msc bigint, page_cursor text, backfill_state mt5.backfill_state,
               empty_chunks integer, cash_gap_runs integer, auth_failure_count integer, auth_credentials_version integer,
               state_digest text, told_rows_hash text, told_content text, told_count integer, told_first_msc bigint,
               told_last_msc bigint, opening_balance numeric, opening_proven boolean, has_open_positions boolean,
               cash_state mt5.cash_state)
     where s.account_id = the_account;

    if is_over then
        perform mt5.log_outcomes(
            the_run, desk_now,
            jsonb_build_array(document->'outcome' || jsonb_build_object('trades_synced', trades_removed + trades_changed)),
            array[the_account]);
    end if;
    return jsonb_build_object('deals_inserted', deals_inserted, 'trades_changed', trades_removed + trades_changed,
                              'cash_changed', cash_removed + cash_changed);
end
$$;

-- Note that accounts answered what is stored already: {run_id, now, rows: [{lease_token, next_due_at, history_until_msc, and the
-- columns of mt5.log_outcomes}]} -> [account_id] of those whose lease still held; the others were not touched.
create or replace function mt5.flush_unchanged(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off as $$
declare
    the_run  constant uuid := (document->>'run_id')::uuid;
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    told     uuid[];
    held     uuid[];
begin
    told := array(select r.account_id from jsonb_to_recordset(document->'rows') as r(account_id uuid));
    perform from mt5.trading_accounts a where a.id = any (told) order by a.id for no key update;
    perform from mt5.account_sync_state s where s.account_id = any (told) order by s.account_id for update;
    held := array(
        select s.account_id
          from jsonb_to_recordset(document->'rows') as r(account_id uuid, lease_token bigint)
         cross join lateral (select x.account_id, x.lease_token, x.lease_run_id from mt5.account_sync_state x
                              where x.account_id = r.account_id order by x.account_id limit 1) s
         where s.lease_token = r.lease_token and s.lease_run_id is not null
         order by s.account_id);
    update mt5.account_sync_state s
       set next_due_at = r.next_due_at, history_until_msc = greatest(s.history_until_msc, r.history_until_msc),
           last_run_id = the_run, lease_run_id = null, lease_until = null
      from jsonb_to_recordset(document->'rows') as r(account_id uuid, next_due_at timestamptz, history_until_msc bigint)
     where s.account_id = r.account_id and s.account_id = any (held);
    update mt5.trading_accounts a
       set info_at = r.completed_at, positions_at = r.completed_at, last_sync_at = r.completed_at,
           last_successful_sync_at = r.completed_at, sync_failure_count = 0, last_error_code = null,
           last_connection_error = null, connection_status = 'connected', updated_at = desk_now
      from jsonb_to_recordset(document->'rows') as r(account_id uuid, completed_at timestamptz)
     where a.id = r.account_id and a.id = any (held);
    perform mt5.log_outcomes(the_run, desk_now, document->'rows', held);
    return to_jsonb(held);
end
$$;

grant execute on function mt5.check_sums(jsonb) to mt5_writer;
