// Trades as the brokers told of them: a row opens to its executions or deals, those that count and those that were replaced.
import type { JSX, TargetedSubmitEvent } from "preact";
import { useState } from "preact/hooks";
import { Toggle } from "../../parts/Tabs.tsx";
import { LinkedTrades } from "./LinkedTrades.tsx";
import { NumberedTrades } from "./NumberedTrades.tsx";
import type { Account } from "./types.ts";

export type Platform = "ibkr" | "mt5";

export interface TradesGiven {
  params: Readonly<Record<string, string | null>>;
  isAdmin: boolean;
}

interface Props {
  account: Account | null;
  platform: Platform;
  symbol: string;
  withHidden: boolean;
  isAdmin: boolean;
  choose: (changes: Record<string, string | null>) => void;
}

const PLATFORMS = [{ key: "ibkr", title: "IBKR" }, { key: "mt5", title: "MT5" }];

// Trades of one account or of a platform, newest first.
export function Trades({ account, platform, symbol, withHidden, isAdmin, choose }: Props): JSX.Element {
  const asked: Platform = account === null ? platform : account.platform === "MT5" ? "mt5" : "ibkr";
  const params = { platform: asked, account_id: account?.account_id ?? null, symbol, include_hidden: withHidden ? "true" : null };
  return (
    <>
      <div class="toolbar">
        {account === null && <Toggle label="Platform" tabs={PLATFORMS} chosen={asked} choose={(key) => choose({ platform: key })} />}
        <SymbolFilter key={symbol} symbol={symbol} choose={(text) => choose({ symbol: text })} />
        <label class="check"><input type="checkbox" checked={withHidden} onChange={(event) => choose({ hidden: event.currentTarget.checked ? "true" : null })} /> With hidden ones</label>
      </div>
      {asked === "ibkr" ? <NumberedTrades params={params} isAdmin={isAdmin} /> : <LinkedTrades params={params} isAdmin={isAdmin} />}
    </>
  );
}

function SymbolFilter({ symbol, choose }: { symbol: string; choose: (text: string) => void }): JSX.Element {
  const [typed, setTyped] = useState(symbol);
  const submit = (event: TargetedSubmitEvent<HTMLFormElement>): void => {
    event.preventDefault();
    choose(typed.trim());
  };
  return (
    <form class="row" onSubmit={submit} role="search">
      <label for="symbol" class="hint">Symbol</label>
      <input id="symbol" data-filter type="search" maxLength={64} autocomplete="off" spellcheck={false} placeholder="all" value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
      <button type="submit" class="button">Show</button>
    </form>
  );
}
