// The log-in: a key is typed, tried, and kept in memory; for this tab only when that is asked for.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { api, ApiError } from "../api/client.ts";
import { open, type Why } from "../api/session.ts";
import "./login.css";

const REASONS: Readonly<Record<Why, string | null>> = {
  none: null,
  left: null,
  refused: "This key is no longer accepted. What you were looking at is kept.",
  idle: "The key was forgotten after twelve hours without use.",
};

function words(error: ApiError): string {
  if (error.status === 401) return "This key does not open the desk. Was it copied whole? Keys also expire.";
  if (error.status === 429) return `Too many wrong keys from this address. Wait ${error.retryAfter ?? 300} seconds.`;
  if (error.status === 503) return `The desk cannot check keys right now (${error.code}). Try again in a moment.`;
  return error.status === 0 ? error.message : `${error.message} (${error.code}, request ${error.requestId ?? "unknown"})`;
}

export function LogIn({ why }: { why: Why }): JSX.Element {
  const field = useRef<HTMLInputElement>(null);
  const [error, setError] = useState<string | null>(REASONS[why]);
  const [isAsking, setAsking] = useState(false);
  const [isKept, setKept] = useState(false);
  useEffect(() => {
    document.title = "Log in · Trade Tracker";
    field.current?.focus();
  }, []);

  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const typed = field.current?.value.trim() ?? "";
    if (typed === "" || isAsking) return field.current?.focus();
    setAsking(true);
    try {
      if (!/^[\x21-\x7e]+$/.test(typed)) throw new ApiError(401, "key_unknown", "");
      await api.get("/timed/session", {}, { as: typed });
      open(typed, isKept);
    } catch (failure) {
      setError(failure instanceof ApiError ? words(failure) : String(failure));
      setAsking(false);
      field.current?.select();
    }
  };

  return (
    <main class="log-in" id="main">
      <form onSubmit={(event) => void submit(event)} noValidate>
        <h1>Trade Tracker</h1>
        <label for="key">Desk key</label>
        <input id="key" ref={field} type="password" autocomplete="off" spellcheck={false} aria-invalid={error !== null} aria-describedby={error === null ? undefined : "key-error"} />
        <div id="key-error" role="alert" class="field-error">{error}</div>
        <label class="check"><input type="checkbox" checked={isKept} onChange={(event) => setKept(event.currentTarget.checked)} /> Keep for this tab</label>
        <button type="submit" class="button primary" aria-disabled={isAsking}>{isAsking ? "Checking…" : "Log in"}</button>
        <p class="hint small">The key stays in this tab and is gone when it is closed.</p>
      </form>
    </main>
  );
}
