// What the desk's people wrote about a broker's trade; with an admin key it can be changed, and whoever was slower is told so.

import { useState } from "preact/hooks";
import { ErrorLine, api, type ApiError } from "../kit";
import type { Annotated } from "./types";

interface Given {
  of: Annotated & { trade_id: string };
  isAdmin: boolean;
  onStored: () => void;
}

/** The words of a trade, and with `isAdmin` their form. */
export function Notes({ of, isAdmin, onStored }: Given) {
  const [error, setError] = useState<ApiError | null>(null);
  const [said, setSaid] = useState("");
  const [isBusy, setBusy] = useState(false);
  if (!isAdmin) return <Read of={of} />;

  async function store(event: SubmitEvent) {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => (given.get(name) as string).trim() || null;
    const words = { notes: text("notes"), strategy: text("strategy"), tags: (text("tags") ?? "").split(",").map((tag) => tag.trim()).filter(Boolean), is_hidden: given.has("is_hidden") };
    const path = `/api/v1/trades/${of.trade_id}/notes`;
    setBusy(true);
    setError(null);
    try {
      if (of.notes_version == null || of.notes_version === 0) await api.post(path, words);
      else await api.patch(path, words, { "If-Match": String(of.notes_version) });
      setSaid("Stored.");
      onStored();
    } catch (failed) {
      setError(failed as ApiError);
      setSaid("");
    }
    setBusy(false);
  }

  return (
    <form class="notes" onSubmit={store} aria-label="Notes and tags of the trade">
      <label class="wide">Notes <textarea name="notes" maxLength={10_000} rows={3} defaultValue={of.notes ?? ""} /></label>
      <label>Tags, with commas between them <input name="tags" maxLength={900} defaultValue={(of.tags ?? []).join(", ")} /></label>
      <label>Strategy <input name="strategy" maxLength={200} defaultValue={of.strategy ?? ""} /></label>
      <label class="check"><input name="is_hidden" type="checkbox" defaultChecked={of.is_hidden === true} /> Leave this trade out of lists</label>
      <p><button type="submit" disabled={isBusy}>Store</button> <span role="status">{said}</span></p>
      {error !== null && <ErrorLine error={error} hints={{ 409: "Somebody wrote about this trade meanwhile; their words appear with the next refresh.", 412: "Somebody was faster. Their words appear with the next refresh; add yours to them." }} />}
    </form>
  );
}

function Read({ of }: { of: Annotated }) {
  if (!of.notes && !of.strategy && (of.tags ?? []).length === 0) return null;
  return (
    <dl class="notes">
      {of.strategy && <div><dt>Strategy</dt><dd>{of.strategy}</dd></div>}
      {(of.tags ?? []).length > 0 && <div><dt>Tags</dt><dd>{of.tags!.join(", ")}</dd></div>}
      {of.notes && <div class="wide"><dt>Notes</dt><dd class="as-written">{of.notes}</dd></div>}
    </dl>
  );
}
