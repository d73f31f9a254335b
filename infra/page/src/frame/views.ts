// The views: address, title, key to reach them, and the module that is loaded when they are first opened.
import type { ComponentType } from "preact";

export interface View {
  key: string; // of "/app/<key>"
  title: string;
  shortcut: string; // after "g"
  load: () => Promise<{ default: ComponentType }>;
}

export const VIEWS: readonly View[] = [
  { key: "today", title: "Today", shortcut: "t", load: () => import("../views/Today.tsx") },
  { key: "positions", title: "Positions", shortcut: "p", load: () => import("../views/Positions.tsx") },
  { key: "lanes", title: "Kanban", shortcut: "k", load: () => import("../views/Lanes.tsx") },
  { key: "history", title: "History", shortcut: "h", load: () => import("../views/History.tsx") },
  { key: "snapshot", title: "Snapshot", shortcut: "s", load: () => import("../views/Snapshot.tsx") },
  { key: "accounts", title: "Accounts", shortcut: "a", load: () => import("../views/Accounts.tsx") },
  { key: "replay", title: "Replay", shortcut: "r", load: () => import("../views/Replay.tsx") },
  { key: "alerts", title: "Alerts", shortcut: "n", load: () => import("../views/Alerts.tsx") },
];

// One position has a view of its own below the list's address.
export const JOURNEY: View = { key: "journey", title: "Position", shortcut: "", load: () => import("../views/Journey.tsx") };

export function viewOf(name: string, id: string | null): View | undefined {
  return name === "positions" && id !== null ? JOURNEY : VIEWS.find(({ key }) => key === name);
}
