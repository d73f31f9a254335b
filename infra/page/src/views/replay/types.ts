// The answers about replays by the names these views give them.
export type { ComparisonAnswer as Comparison, Divergence, Portfolio, Run, Runs, Side, TradePair } from "../../api/types.ts";
