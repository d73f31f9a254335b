// What the desk's people wrote about a broker's trade; with an admin key it can be changed, and whoever was slower is told so.
import type { JSX, TargetedSubmitEvent } from "preact";
import { useState } from "preact/hooks";
import { api, ApiError } from "../../api/client.ts";
import { Refusal } from "../../parts/Action.tsx";
import type { Annotated } from "./types.ts";

interface Props {
  of: Annotated;
  isAdmin: boolean;
  onStored: () => void;
}

const HINTS = {
  409: "Somebody wrote about this trade meanwhile; their words appear with the next refresh.",
  412: "Somebody was faster. Their words appear with the next refresh; add yours to them.",
};

// The words of a trade, and with an admin key their form.
export function Notes({ of, isAdmin, onStored }: Props): JSX.Element | null {
  const [error, setError] = useState<ApiError | null>(null);
  const [said, setSaid] = useState("");
  if (!isAdmin) return <Read of={of} />;

  const submit = async (event: TargetedSubmitEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault();
    const words = wordsOf(new FormData(event.currentTarget));
    const path = `/api/v1/trades/${of.trade_id}/notes`;
    setError(null);
    setSaid("Storing…");
    try {
      if (of.notes_version === null) await api.post(path, words);
      else await api.patch(path, words, { "If-Match": String(of.notes_version) });
      setSaid("Stored.");
    } catch (failure) {
      setError(failure instanceof ApiError ? failure : new ApiError(0, "broken", String(failure)));
      setSaid("");
    }
    onStored();
  };

  return (
    <form class="notes" onSubmit={(event) => void submit(event)} aria-label="Notes and tags of the trade">
      <div class="field wide"><label for={`notes-${of.trade_id}`}>Notes</label><textarea id={`notes-${of.trade_id}`} name="notes" maxLength={10_000} rows={3} defaultValue={of.notes ?? ""} /></div>
      <div class="field"><label for={`tags-${of.trade_id}`}>Tags, with commas between them</label><input id={`tags-${of.trade_id}`} name="tags" maxLength={900} defaultValue={of.tags.join(", ")} /></div>
      <div class="field"><label for={`strategy-${of.trade_id}`}>Strategy</label><input id={`strategy-${of.trade_id}`} name="strategy" maxLength={100} defaultValue={of.strategy ?? ""} /></div>
      <label class="check"><input name="is_hidden" type="checkbox" defaultChecked={of.is_hidden} /> Leave this trade out of lists</label>
      <div class="row wide">
        <button type="submit" class="button">Store</button>
        <span role="status" class="hint">{said}</span>
        {error !== null && <Refusal error={error} hints={HINTS} />}
      </div>
    </form>
  );
}

function wordsOf(given: FormData): object {
  const text = (name: string): string => String(given.get(name) ?? "").trim();
  const tags = text("tags").split(",").map((tag) => tag.trim()).filter((tag) => tag !== "");
  return { notes: text("notes") || null, strategy: text("strategy") || null, tags, is_hidden: given.has("is_hidden") };
}

function Read({ of }: { of: Annotated }): JSX.Element | null {
  if (of.notes === null && of.strategy === null && of.tags.length === 0) return null;
  return (
    <dl class="notes">
      {of.strategy !== null && <div><dt>Strategy</dt><dd>{of.strategy}</dd></div>}
      {of.tags.length > 0 && <div><dt>Tags</dt><dd>{of.tags.join(", ")}</dd></div>}
      {of.notes !== null && <div class="wide"><dt>Notes</dt><dd class="as-written">{of.notes}</dd></div>}
    </dl>
  );
}

// The same in one line of a list.
export function Words({ of }: { of: Annotated }): JSX.Element {
  if (of.notes === null && of.tags.length === 0 && of.strategy === null) return <span class="unknown">—</span>;
  return (
    <span class="words">
      {of.is_hidden && <span class="tag">hidden</span>}
      {of.strategy !== null && <span class="tag">{of.strategy}</span>}
      {of.tags.map((tag) => <span key={tag} class="tag">{tag}</span>)}
      {of.notes}
    </span>
  );
}
