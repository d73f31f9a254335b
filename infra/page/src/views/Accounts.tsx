// Accounts: how every broker account is followed, which of its days are covered, what it traded, and where our books differ from it.
import type { JSX } from "preact";
import { useDesk, useIsAdmin } from "../frame/desk.ts";
import { useRows } from "../lib/list.ts";
import { usePolled } from "../lib/poll.ts";
import { Link, useFilters } from "../lib/router.tsx";
import { dayOf } from "../lib/time.ts";
import { percent } from "../lib/decimal.ts";
import { Card } from "../parts/Card.tsx";
import { Empty } from "../parts/Empty.tsx";
import { Label } from "../parts/Label.tsx";
import { Loaded } from "../parts/Loaded.tsx";
import { More } from "../parts/More.tsx";
import { Pill } from "../parts/Pill.tsx";
import { Skeleton } from "../parts/Skeleton.tsx";
import { Tabs } from "../parts/Tabs.tsx";
import { Breaks } from "./accounts/Breaks.tsx";
import { Coverage } from "./accounts/Coverage.tsx";
import { AccountList, worstFirst } from "./accounts/List.tsx";
import { Runs } from "./accounts/Runs.tsx";
import { Sources } from "./accounts/Sources.tsx";
import { SyncNow } from "./accounts/SyncNow.tsx";
import { Trades } from "./accounts/Trades.tsx";
import type { Account, Accounts as Answer, SyncHealth } from "./accounts/types.ts";
import { RANK, STATES } from "./accounts/words.ts";
import "./common.css";
import "./accounts.css";

const TABS = [
  { key: "coverage", title: "Coverage" },
  { key: "runs", title: "Sync runs" },
  { key: "trades", title: "Broker trades" },
  { key: "breaks", title: "Open breaks" },
];

export default function Accounts(): JSX.Element {
  const [params, change] = useFilters();
  const listed = useRows<Account, Answer>({ path: "/api/v1/accounts", step: 500, most: 500, rows: ({ items }) => items });
  const health = usePolled<SyncHealth>("/api/v1/sync/health");
  const chosen = listed.rows.find((one) => one.account_id === params["account"]) ?? null;
  return (
    <div class="stack">
      <Card title={<>Accounts {listed.data !== null && <span class="count">{listed.rows.length}</span>}</>} hint={<Fleet accounts={listed.rows} health={health.data} />}>
        <Loaded of={listed} skeleton={<Skeleton kind="table" rows={8} />}>
          {() =>
            listed.rows.length === 0 ? (
              <Empty title="No broker account">Accounts of IBKR come from the configuration of execution_sync; those of MT5 are linked with: python3 infra/dev.py op mt5 link</Empty>
            ) : (
              <>
                <AccountList accounts={listed.rows} chosen={chosen?.account_id ?? null} to={(one) => ({ ...params, account: one.account_id })} />
                <More of={listed} />
              </>
            )
          }
        </Loaded>
      </Card>
      {listed.rows.length > 0 && <Chosen account={chosen} accounts={listed.rows} health={health.data} params={params} change={change} />}
    </div>
  );
}

// How all stand in one line: states worst first, and the share of what is fresh.
function Fleet({ accounts, health }: { accounts: readonly Account[]; health: SyncHealth | null }): JSX.Element {
  const counts = RANK.map((state) => ({ state, count: accounts.filter((one) => one.state === state).length })).filter(({ count }) => count > 0);
  const share = health?.mt5.fleet.fresh_percent ?? null;
  return (
    <span class="fleet">
      {counts.map(({ state, count }) => <Pill key={state} tone={STATES[state].tone} title={STATES[state].meaning}>{`${count} ${STATES[state].word}`}</Pill>)}
      {share !== null && <span>{percent(share)} of active MT5 accounts read within 10 minutes</span>}
    </span>
  );
}

interface ChosenProps {
  account: Account | null;
  accounts: readonly Account[];
  health: SyncHealth | null;
  params: Readonly<Record<string, string>>;
  change: (changes: Record<string, string | null>) => void;
}

function Chosen({ account, accounts, health, params, change }: ChosenProps): JSX.Element {
  const isAdmin = useIsAdmin();
  const desk = useDesk();
  const tab = TABS.find(({ key }) => key === params["tab"])?.key ?? "coverage";
  const isAll = account === null;
  const numbered = health?.accounts ?? [];
  return (
    <Card
      title={isAll ? "All accounts" : <Label text={account.label} />}
      hint={isAll ? "Choose an account above to see it alone." : <Link to="/app/accounts" params={{ ...params, account: null }}>Show all accounts</Link>}
      actions={isAll ? undefined : <SyncNow key={account.account_id} account={account} isAdmin={isAdmin} />}
    >
      <div class="stack">
        {!isAll && <Sources of={numbered.find((one) => one.account_id === account.account_id)} />}
        <div class="row"><Tabs label="What of the accounts" tabs={TABS} chosen={tab} choose={(key) => change({ tab: key })} panel="account-panel" /></div>
        <div id="account-panel" role="tabpanel" aria-label={TABS.find(({ key }) => key === tab)?.title}>
          {tab === "coverage" && desk === null && <Skeleton kind="table" rows={8} />}
          {tab === "coverage" && desk !== null && <Coverage account={account} accounts={worstFirst(accounts)} today={dayOf(desk.server_ts)} span={params["days"] ?? ""} chooseSpan={(days) => change({ days })} />}
          {tab === "runs" && (isAll ? <ChooseOne accounts={worstFirst(accounts)} /> : <Runs key={account.account_id} account={account} />)}
          {tab === "trades" && (
            <Trades key={account?.account_id} account={account} platform={params["platform"] === "mt5" ? "mt5" : "ibkr"} symbol={params["symbol"] ?? ""} withHidden={params["hidden"] === "true"} isAdmin={isAdmin} choose={change} />
          )}
          {tab === "breaks" && <Breaks account={account} numbered={numbered} unassigned={health?.quarantine_unassigned ?? {}} />}
        </div>
      </div>
    </Card>
  );
}

function ChooseOne({ accounts }: { accounts: readonly Account[] }): JSX.Element {
  return (
    <div class="stack">
      <p class="hint">Runs are shown of one account at a time. Choose one:</p>
      <ul class="row">{accounts.map((one) => <li key={one.account_id}><Link class="button" to="/app/accounts" params={{ account: one.account_id, tab: "runs" }}><Label text={one.label} /></Link></li>)}</ul>
    </div>
  );
}
