// A button that asks an owner for something, once: what it answered stands beside it, and a refusal in words with its id.

import { useState } from "preact/hooks";
import { ApiError, api } from "../api/client";

interface Given {
  label: string;
  path: string;
  body: () => object;
  done: string;
  onDone: (answer: unknown) => void;
  hints?: Record<number, string>;
  isPrimary?: boolean;
  isDisabled?: boolean;
}

/** Sends one request per press; a press while one is under way does nothing. */
export function Action({ label, path, body, done, onDone, hints, isPrimary, isDisabled }: Given) {
  const [isBusy, setBusy] = useState(false);
  const [said, setSaid] = useState("");
  const [error, setError] = useState<ApiError | null>(null);

  async function ask() {
    setBusy(true);
    setSaid("");
    setError(null);
    try {
      const answer = await api.post(path, body(), { "Idempotency-Key": crypto.randomUUID() });
      setSaid(done);
      onDone(answer);
    } catch (failed) {
      if (!(failed instanceof ApiError)) throw failed;
      setError(failed);
    } finally {
      setBusy(false);
    }
  }

  return (
    <span class="action">
      <button type="button" class={isPrimary ? "primary" : undefined} disabled={isBusy || isDisabled} onClick={ask}>{label}</button>
      <span role="status">{isBusy ? "Asking…" : said}</span>
      {error !== null && <ErrorLine error={error} hints={hints} />}
    </span>
  );
}

/** A refusal in one line: what it means where that is known, what was said, and the id that finds the log line. */
export function ErrorLine({ error, hints }: { error: ApiError; hints?: Record<number, string> }) {
  const wait = error.retryAfter == null ? "" : ` Try again in ${error.retryAfter} s.`;
  return <span role="alert" class="action-error">{hints?.[error.status] ?? ""} {error.message}{wait} <small>({error.status}, {error.requestId ?? "no request id"})</small></span>;
}
