// A button that asks an owner for something, once: what came of it stands beside it, and a refusal in words with its id.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { api, ApiError } from "../api/client.ts";

interface Props {
  label: string;
  path: string;
  body: () => object;
  done: string;
  onDone: (answer: unknown) => void;
  hints?: Readonly<Record<number, string>>; // what a status means here
  kind?: "primary" | "plain";
  disabled?: boolean;
}

// One request per press; a press while one is under way does nothing.
export function Action({ label, path, body, done, onDone, hints = {}, kind = "plain", disabled = false }: Props): JSX.Element {
  const [isAsking, setAsking] = useState(false);
  const [isDone, setDone] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);

  const ask = async (): Promise<void> => {
    setAsking(true);
    setDone(false);
    setError(null);
    try {
      const answer = await api.post(path, body(), { "Idempotency-Key": crypto.randomUUID() });
      setDone(true);
      onDone(answer);
    } catch (failure) {
      setError(failure instanceof ApiError ? failure : new ApiError(0, "broken", String(failure)));
    } finally {
      setAsking(false);
    }
  };

  return (
    <div class="action">
      <button type="button" class={`button ${kind}`} disabled={isAsking || disabled} onClick={() => void ask()}>{label}</button>
      <span role="status" class="hint">{isAsking ? "Asking…" : isDone ? done : ""}</span>
      {error !== null && <Refusal error={error} hints={hints} />}
    </div>
  );
}

// A refusal in one line: what it means where that is known, what was said, and the id that finds the log line.
export function Refusal({ error, hints = {} }: { error: ApiError; hints?: Readonly<Record<number, string>> }): JSX.Element {
  const hint = hints[error.status];
  return (
    <span role="alert" class="field-error">
      {hint !== undefined && `${hint} `}
      <span class="mono">{error.status} {error.code}</span> · {error.message}
      {error.retryAfter !== null && ` · wait ${error.retryAfter} s`}
      {error.requestId !== null && <> · request <span class="mono">{error.requestId}</span></>}
    </span>
  );
}
