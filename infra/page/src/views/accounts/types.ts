// The answers about broker accounts by the names these views give them.
import type { Accounts, AccountSync, Audits, BrokerExecution, BrokerTrade, LinkedDeal, LinkedTrade, OpenBreak, SyncCoverage, SyncHealth, SyncRuns } from "../../api/types.ts";

export type { Account, Accounts, Audits, BrokerExecutions, CoveredDay, LinkedTrade, LinkedTradeWhole, SyncCoverage, SyncHealth, SyncRuns } from "../../api/types.ts";

export type AccountState = Accounts["items"][number]["state"];
export type DayState = SyncCoverage["days"][number]["state"];
export type Numbered = AccountSync;
export type Source = AccountSync["sources"][number];
export type Run = SyncRuns["items"][number];
export type Fleet = SyncHealth["mt5"];
export type Break = OpenBreak;
export type Breaks = Audits;
export type NumberedTrade = BrokerTrade;
export type Execution = BrokerExecution;
export type Deal = LinkedDeal;
export type Annotated = Pick<BrokerTrade | LinkedTrade, "trade_id" | "notes" | "tags" | "strategy" | "is_hidden" | "notes_version">;

// A page of trades of one platform: which of them it was asked for says which they are.
export interface TradesOf<T> {
  items: T[];
  has_more: boolean;
}
