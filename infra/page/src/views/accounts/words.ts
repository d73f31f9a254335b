// The words of accounts: states worst first, what each day of a calendar means, how runs end.
import type { Tone } from "../../parts/Pill.tsx";
import type { AccountState, DayState } from "./types.ts";

// Word and tone of an account's state; the order is worst first.
export const STATES: Record<AccountState, { word: string; tone: Tone; meaning: string }> = {
  needs_login: { word: "needs login", tone: "loss", meaning: "the broker refused its login; somebody must enter it again" },
  failing: { word: "failing", tone: "loss", meaning: "the last run did not bring everything" },
  late: { word: "late", tone: "warning", meaning: "the last success is older than its schedule explains" },
  ok: { word: "ok", tone: "gain", meaning: "the last run brought everything in time" },
  paused: { word: "paused", tone: "plain", meaning: "switched off; nothing is fetched" },
};
export const RANK: readonly AccountState[] = ["needs_login", "failing", "late", "ok", "paused"];

// How a day of an account is covered; the sign stands for people who see no colours.
export const DAYS: Record<DayState, { word: string; sign: string; tone: Tone; meaning: string }> = {
  proven: { word: "proven", sign: "✓", tone: "gain", meaning: "a statement of the broker, or a check of the account's money, settled the day" },
  provisional: { word: "provisional", sign: "◐", tone: "info", meaning: "read, but not settled yet" },
  gap: { word: "gap", sign: "✕", tone: "loss", meaning: "no run covered the day" },
  unknown: { word: "unknown", sign: "·", tone: "plain", meaning: "before the first run, or still to come" },
  closed: { word: "closed", sign: "–", tone: "plain", meaning: "no session, and nothing to cover" },
};
export const DAY_RANK: readonly DayState[] = ["proven", "provisional", "gap", "unknown", "closed"];

const RUN_TONES: Record<string, Tone> = {
  complete: "gain", success: "gain", running: "info", partial: "warning", skipped: "plain", failed: "loss", abandoned: "loss", incomplete: "warning",
};

// The tone of a run's end; a word that is not known yet is a warning, never good news.
export function runTone(state: string): Tone {
  return RUN_TONES[state] ?? "warning";
}

// `auth_failed` as people write it.
export function spaced(slug: string): string {
  return slug.replaceAll("_", " ");
}
