// Accounts: how every broker account is followed, which of its days are covered, what it traded, and where our books differ from it.

import "./accounts.css";
import { Empty, Label, Link, Loaded, Pill, Section, Skeleton, Tabs, isoDay, navigate, usePages, usePolled, useRoute, useScopes } from "./kit";
import { Breaks } from "./accounts/Breaks";
import { Coverage } from "./accounts/Coverage";
import { AccountList, worstFirst } from "./accounts/List";
import { Runs } from "./accounts/Runs";
import { Sources } from "./accounts/Sources";
import { SyncNow } from "./accounts/SyncNow";
import { Trades } from "./accounts/Trades";
import type { Account, Accounts as Answer, SyncHealth } from "./accounts/types";
import { RANK, STATES } from "./accounts/words";

const TABS = [["coverage", "Coverage"], ["runs", "Sync runs"], ["trades", "Broker trades"], ["breaks", "Open breaks"]] as const;

export default function Accounts() {
  const { params } = useRoute();
  const { isAdmin } = useScopes();
  const listed = usePages<Account, Answer>("/api/v1/accounts", { limit: "500" }, 30);
  const health = usePolled<SyncHealth>("/api/v1/sync/health", {}, 30);
  const chosen = listed.items.find((one) => one.account_id === params.account) ?? null;
  const tab = TABS.find(([name]) => name === params.tab)?.[0] ?? "coverage";
  const go = (more: Record<string, string | null>) => navigate("accounts", { ...params, ...more }, { replace: true });

  return (
    <>
      <Section id="accounts" title="Accounts" count={listed.data === undefined ? undefined : listed.items.length} note={<Fleet of={health.data} accounts={listed.items} />}>
        <Loaded of={listed} what="broker accounts" skeleton={<Skeleton kind="rows" />}>
          {(answer) =>
            listed.items.length === 0 ? (
              <Empty title="No broker account" hint="IBKR accounts come from the configuration of execution_sync; MT5 accounts are linked with op mt5 link." />
            ) : (
              <AccountList accounts={listed.items} now={answer.as_of_ts} chosen={chosen?.account_id ?? null} to={(one) => ({ ...params, account: one.account_id })} />
            )
          }
        </Loaded>
      </Section>
      {listed.items.length > 0 && (
        <Section
          id="account"
          title={chosen === null ? "All accounts" : <Label text={chosen.label} />}
          note={chosen === null ? "Choose an account above to see it alone." : <Link to="accounts" params={{ ...params, account: null }} replace>Show all accounts</Link>}
        >
          {chosen !== null && (
            <div class="account-head">
              <Sources of={health.data?.accounts.find((one) => one.account_id === chosen.account_id)} now={health.data?.as_of_ts ?? 0} />
              <SyncNow key={chosen.account_id} account={chosen} isAdmin={isAdmin} onAsked={listed.refresh} />
            </div>
          )}
          <Tabs label="What of the account" tabs={TABS} chosen={tab} onChoose={(name) => go({ tab: name })}>
            {tab === "coverage" && (
              <Coverage account={chosen} accounts={worstFirst(listed.items)} today={isoDay(listed.data?.as_of_ts)} span={params.days ?? ""} onSpan={(days) => go({ days })} />
            )}
            {tab === "runs" && (chosen === null ? <ChooseOne accounts={worstFirst(listed.items)} /> : <Runs key={chosen.account_id} account={chosen} />)}
            {tab === "trades" && (
              <Trades key={chosen?.account_id} account={chosen} platform={params.platform === "mt5" ? "mt5" : "ibkr"} symbol={params.symbol ?? ""} isAdmin={isAdmin}
                onPlatform={(platform) => go({ platform })} onSymbol={(symbol) => go({ symbol: symbol || null })} />
            )}
            {tab === "breaks" && <Breaks account={chosen} numbered={health.data?.accounts ?? []} />}
          </Tabs>
        </Section>
      )}
    </>
  );
}

/** How the fleet stands, in one line: states worst first, and the share of what is fresh. */
function Fleet({ of, accounts }: { of: SyncHealth | undefined; accounts: readonly Account[] }) {
  const counts = RANK.map((state) => [state, accounts.filter((one) => one.state === state).length] as const).filter(([, count]) => count > 0);
  const share = of?.mt5.fleet.fresh_percent;
  return (
    <span id="fleet" class="fleet">
      {counts.map(([state, count]) => <Pill key={state} tone={STATES[state].tone} title={STATES[state].meaning}>{`${count} ${STATES[state].word}`}</Pill>)}
      {share != null && <span>{share} % of active MT5 accounts read within 10 minutes</span>}
    </span>
  );
}

function ChooseOne({ accounts }: { accounts: readonly Account[] }) {
  return (
    <div class="choose">
      <p class="hint">Runs are shown of one account at a time. Choose one:</p>
      <ul>{accounts.map((one) => <li key={one.account_id}><Link to="accounts" params={{ account: one.account_id, tab: "runs" }} replace><Label text={one.label} /></Link></li>)}</ul>
    </div>
  );
}
