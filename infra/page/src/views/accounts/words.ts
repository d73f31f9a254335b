// The words of accounts: states worst first, what each day of a calendar means, how runs end.

export type AccountState = "needs_login" | "failing" | "late" | "ok" | "paused";
export type DayState = "proven" | "provisional" | "gap" | "unknown" | "closed";
export type Tone = "good" | "bad" | "warn" | "info" | "quiet";

/** Word and tone of an account's state; the order is worst first. */
export const STATES: Record<AccountState, { word: string; tone: Tone; meaning: string }> = {
  needs_login: { word: "needs login", tone: "bad", meaning: "the broker refused its login; somebody must enter it again" },
  failing: { word: "failing", tone: "bad", meaning: "the last run did not bring everything" },
  late: { word: "late", tone: "warn", meaning: "the last success is older than its schedule explains" },
  ok: { word: "ok", tone: "good", meaning: "the last run brought everything in time" },
  paused: { word: "paused", tone: "quiet", meaning: "switched off; nothing is fetched" },
};
export const RANK = Object.keys(STATES) as AccountState[];

/** How a day of an account is covered; the sign stands for people who see no colours. */
export const DAYS: Record<DayState, { word: string; sign: string; tone: Tone; meaning: string }> = {
  proven: { word: "proven", sign: "✓", tone: "good", meaning: "a statement of the broker, or a check of the account's money, settled the day" },
  provisional: { word: "provisional", sign: "◐", tone: "info", meaning: "read, but not settled yet" },
  gap: { word: "gap", sign: "✕", tone: "bad", meaning: "no run covered the day" },
  unknown: { word: "unknown", sign: "·", tone: "quiet", meaning: "before the first run, or still to come" },
  closed: { word: "closed", sign: "–", tone: "quiet", meaning: "no session, and nothing to cover" },
};
export const DAY_RANK = Object.keys(DAYS) as DayState[];

const RUN_TONES: Record<string, Tone> = {
  complete: "good", success: "good", running: "info", partial: "warn", skipped: "quiet", failed: "bad", abandoned: "bad", incomplete: "warn",
};

/** The tone of a run's end; a word that is not known yet is a warning, never good news. */
export function runTone(state: string): Tone {
  return RUN_TONES[state] ?? "warn";
}

/** `auth_failed` as people write it. */
export function spaced(slug: string): string {
  return slug.replaceAll("_", " ");
}
