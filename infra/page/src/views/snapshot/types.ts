// The answers about published days by the names these views give them.
import type { Restatements } from "../../api/types.ts";

export type { Asset, DayNamed, Extreme, Extremes, Kpi, Published, PublishedDates, PublishedDay, Series, SnapshotFreshness } from "../../api/types.ts";
export type Restated = Restatements;
export type Restatement = Restatements["items"][number];

// What the publisher tells of an execution that was recorded after its day was published.
export interface LateAction {
  action_id?: string;
  action_type?: string;
  symbol?: string;
}
