// The filter's trades as a file: the same rows as on the screen, all pages of them. Not under privacy: a file shows every amount.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { api } from "../../api/client.ts";
import { useScope } from "../../lib/books.ts";
import { usePrivacy } from "../../lib/privacy.ts";
import { Icon } from "../../parts/Icon.tsx";
import { failureWords } from "../failure.ts";
import { asked, type Filter } from "./filter.ts";

const FORMS = ["csv", "json"] as const;

const REFUSED = { 413: "More than 100,000 rows: narrow the range.", 429: "Six files a minute." };

export function Exports({ filter }: { filter: Filter }): JSX.Element {
  const { query } = useScope();
  const isHidden = usePrivacy();
  const [waits, setWaits] = useState<string | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const save = (form: string): void => {
    setWaits(form);
    setProblem(null);
    void api
      .download(`/timed/export/trades.${form}`, { ...query, ...asked(filter) })
      .catch((error: unknown) => setProblem(failureWords(error, REFUSED)))
      .finally(() => setWaits(null));
  };
  return (
    <div class="history-exports">
      {FORMS.map((form) => (
        <button key={form} type="button" class="button" disabled={isHidden || waits !== null} onClick={() => save(form)}>
          <Icon name="download" /> {waits === form ? "Preparing…" : form.toUpperCase()}
        </button>
      ))}
      {isHidden && <p class="hint">Exports are off while privacy is on.</p>}
      {problem !== null && <p role="alert" class="form-problem">{problem}</p>}
    </div>
  );
}
