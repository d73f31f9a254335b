// What went wrong, in words, with the id that finds the log line and a way on.
import type { JSX } from "preact";
import { ApiError } from "../api/client.ts";

const WORDS: Readonly<Record<number, string>> = {
  0: "The desk cannot be reached",
  403: "This key may not see this",
  404: "There is nothing here",
  429: "Too many questions at once",
  503: "The desk's database is away",
};

interface Props {
  error: ApiError;
  retry?: () => void;
  compact?: boolean; // a line above data that are still shown
  shown?: string; // what of the data is still shown, for the compact form
}

export function ErrorBox({ error, retry, compact = false, shown }: Props): JSX.Element {
  const title = WORDS[error.status] ?? (error.status >= 500 ? "The desk cannot answer" : "The desk refused this");
  return (
    <div class={`error-box${compact ? " compact" : ""}`} role="alert">
      <div>
        <p class="error-title">{title}{shown === undefined ? "" : `. ${shown}`}</p>
        <p class="error-detail">
          {error.status === 0 ? error.message : <><span class="mono">{error.status} {error.code}</span> · {error.message}</>}
          {error.requestId !== null && <> · request <span class="mono">{error.requestId}</span></>}
          {error.status === 429 && error.retryAfter !== null && <> · asked again in {error.retryAfter} s</>}
        </p>
      </div>
      {retry !== undefined && error.status !== 403 && error.status !== 404 && <button type="button" class="button" onClick={retry}>Retry</button>}
    </div>
  );
}
