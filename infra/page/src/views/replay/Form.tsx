// Start a replay: which day, which ticker, which script version, under which profile. Clean slate removes what the run made
// before, so its scope must be typed.

import { useState } from "preact/hooks";
import { Action } from "../kit";

const PROFILE = "tt-2026-02";
const SCRIPT = "2.5.0";

interface Given {
  isAdmin: boolean;
  today: string;
  profiles: readonly string[];
  onStarted: (runId: string | null) => void;
}

/** The scope as it is typed to confirm a clean slate. */
export function scopeOf(date: string, ticker: string): string {
  return `CLEAN ${date}${ticker === "" ? "" : ` ${ticker.toUpperCase()}`}`;
}

/** The form; without an admin key a sentence says why there is none. */
export function Form({ isAdmin, today, profiles, onStarted }: Given) {
  const [date, setDate] = useState(today);
  const [ticker, setTicker] = useState("");
  const [script, setScript] = useState(SCRIPT);
  const [profile, setProfile] = useState(PROFILE);
  const [isClean, setClean] = useState(false);
  const [typed, setTyped] = useState("");
  if (!isAdmin) return <p class="hint" id="replay-needs-admin">A replay is started with an admin key. Runs and comparisons can be read with this one.</p>;
  const scope = scopeOf(date, ticker.trim());
  const isReady = date !== "" && profile.trim() !== "" && script.trim() !== "" && (!isClean || typed.trim() === scope);
  const body = () => ({
    date,
    ...(ticker.trim() === "" ? {} : { ticker: ticker.trim() }),
    scriptVersion: script.trim(),
    profile: profile.trim(),
    ...(isClean ? { cleanSlate: true } : {}),
  });
  return (
    <form class="replay-form" onSubmit={(event) => event.preventDefault()} aria-label="Start a replay">
      <label>Date <input type="date" name="date" required value={date} max={today} onInput={(event) => setDate(event.currentTarget.value)} /></label>
      <label>Ticker <input name="ticker" data-filter placeholder="all" maxLength={32} autocomplete="off" spellcheck={false} value={ticker} onInput={(event) => setTicker(event.currentTarget.value)} /></label>
      <label>Script version <input name="script" maxLength={32} required value={script} onInput={(event) => setScript(event.currentTarget.value)} /></label>
      <label>Config profile <input name="profile" list="profiles" maxLength={64} required value={profile} onInput={(event) => setProfile(event.currentTarget.value)} /></label>
      <datalist id="profiles">{[...new Set([PROFILE, ...profiles])].map((one) => <option key={one} value={one} />)}</datalist>
      <label class="check"><input type="checkbox" name="clean" checked={isClean} onChange={(event) => setClean(event.currentTarget.checked)} /> Clean slate: remove what this run made of the day before it begins</label>
      {isClean && (
        <label class="confirm">
          Type <code>{scope}</code> to confirm
          <input name="confirm" autocomplete="off" spellcheck={false} value={typed} onInput={(event) => setTyped(event.currentTarget.value)} aria-describedby="clean-means" />
          <small id="clean-means">Only the run's own book is emptied; the live book is never touched.</small>
        </label>
      )}
      <Action
        label="Start the replay"
        path="/timed/admin/replay-runs"
        body={body}
        isPrimary
        isDisabled={!isReady}
        done="Started. Its progress stands in the list."
        onDone={(answer) => onStarted(firstRun(answer))}
        hints={{ 409: "Another run is under way in this scope, its pinned values differ, or the day has gaps.", 502: "replay_worker does not answer." }}
      />
    </form>
  );
}

function firstRun(answer: unknown): string | null {
  const told = answer as { run_id?: string; runs?: string[] };
  return told.run_id ?? told.runs?.[0] ?? null;
}
