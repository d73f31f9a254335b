// Start a replay: which day, which ticker, which script version, under which profile. Clean slate removes what the run made before,
// so its scope must be typed.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Action } from "../../parts/Action.tsx";

const PROFILE = "tt-2026-02";
const SCRIPT = "2.5.0";
const HINTS = {
  409: "Another run holds this scope, its pinned values differ, or too many runs are under way.",
  502: "replay_worker does not answer.",
};

interface Props {
  isAdmin: boolean;
  today: string;
  profiles: readonly string[];
  onStarted: (runId: string) => void;
}

// The scope as it is typed to confirm a clean slate.
export function scopeOf(date: string, ticker: string): string {
  return `CLEAN ${date}${ticker === "" ? "" : ` ${ticker.toUpperCase()}`}`;
}

// The form; without an admin key a sentence says why there is none.
export function Form({ isAdmin, today, profiles, onStarted }: Props): JSX.Element {
  const [date, setDate] = useState(today);
  const [ticker, setTicker] = useState("");
  const [script, setScript] = useState(SCRIPT);
  const [profile, setProfile] = useState(PROFILE);
  const [isClean, setClean] = useState(false);
  const [typed, setTyped] = useState("");
  if (!isAdmin) return <p class="hint">A replay is started with an admin key. Runs and comparisons can be read with this one.</p>;
  const scope = scopeOf(date, ticker.trim());
  const isReady = date !== "" && script.trim() !== "" && profile.trim() !== "" && (!isClean || typed.trim() === scope);
  const body = (): object => ({
    date,
    ...(ticker.trim() === "" ? {} : { ticker: ticker.trim() }),
    scriptVersion: script.trim(),
    profile: profile.trim(),
    ...(isClean ? { cleanSlate: true } : {}),
  });
  return (
    <form class="replay-form" onSubmit={(event) => event.preventDefault()} aria-label="Start a replay">
      <div class="field"><label for="replay-date">Date</label><input id="replay-date" type="date" required value={date} max={today} onInput={(event) => setDate(event.currentTarget.value)} /></div>
      <div class="field"><label for="replay-ticker">Ticker</label><input id="replay-ticker" data-filter placeholder="all" maxLength={32} autocomplete="off" spellcheck={false} value={ticker} onInput={(event) => setTicker(event.currentTarget.value)} /></div>
      <div class="field"><label for="replay-script">Script version</label><input id="replay-script" maxLength={32} required value={script} onInput={(event) => setScript(event.currentTarget.value)} /></div>
      <div class="field">
        <label for="replay-profile">Config profile</label>
        <input id="replay-profile" list="replay-profiles" maxLength={64} required value={profile} onInput={(event) => setProfile(event.currentTarget.value)} />
        <datalist id="replay-profiles">{[...new Set([PROFILE, ...profiles])].map((one) => <option key={one} value={one} />)}</datalist>
      </div>
      <label class="check"><input type="checkbox" checked={isClean} onChange={(event) => setClean(event.currentTarget.checked)} /> Clean slate: remove what this run made of that day, then begin</label>
      {isClean && (
        <div class="field confirm">
          <label for="replay-confirm">Type <strong class="mono">{scope}</strong> to confirm</label>
          <input id="replay-confirm" autocomplete="off" spellcheck={false} value={typed} aria-describedby="replay-clean" onInput={(event) => setTyped(event.currentTarget.value)} />
          <small id="replay-clean" class="hint">Only the run's own book is emptied: {ticker.trim() === "" ? "this day and later days of the run" : "this ticker, from this day on"}. The live book is never touched.</small>
        </div>
      )}
      <Action label="Start the replay" path="/timed/admin/replay-runs" body={body} kind="primary" disabled={!isReady} done="Started. Its progress stands in the list." onDone={(answer) => onStarted((answer as { run_id: string }).run_id)} hints={HINTS} />
    </form>
  );
}
