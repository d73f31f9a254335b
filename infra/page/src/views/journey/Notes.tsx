// The desk's own words about a position. With an admin key they can be changed; what somebody else wrote meanwhile is never lost:
// the desk refuses (412) and both texts are shown.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { AnnotationAnswer, Trade } from "../../api/types.ts";
import { api, ApiError } from "../../api/client.ts";
import { useIsAdmin } from "../../frame/desk.ts";
import { href } from "../../lib/router.tsx";
import { Badge } from "../../parts/Badge.tsx";
import { Card } from "../../parts/Card.tsx";
import { failureWords } from "../failure.ts";
import { body, tagsOf, wrong, type Words } from "./words.ts";

interface Draft {
  notes: string;
  tags: string;
  base: number | null; // the version that was read before typing
}

function draftOf(words: Words): Draft {
  return { notes: words.notes ?? "", tags: words.tags.join(", "), base: words.notes_version };
}

const REFUSED = { 403: "This key may read but not write.", 429: "Too many changes at once." };

interface Props {
  trade: Trade;
  refresh: () => void;
}

export function Notes({ trade, refresh }: Props): JSX.Element {
  const isAdmin = useIsAdmin();
  const [draft, setDraft] = useState<Draft | null>(null);
  const [stored, setStored] = useState<Words | null>(null);
  const opener = useRef<HTMLButtonElement>(null);
  const path = href(`/timed/ledger/trades/${encodeURIComponent(trade.position_id)}/notes`, { books: trade.book_id });
  // what was just stored is shown until an answer knows it too
  const isAhead = stored !== null && (stored.notes_version ?? 0) > (trade.notes_version ?? 0);
  const words: Words = isAhead ? stored : trade;

  const close = (): void => {
    setDraft(null);
    requestAnimationFrame(() => opener.current?.focus());
  };
  const keep = (words: Words): void => {
    setStored(words);
    refresh();
    close();
  };
  return (
    <Card title="Notes and tags" class="journey-notes">
      {draft === null ? (
        <>
          <Shown words={words} />
          {(trade.other_words ?? []).map((other) => (
            <div key={other.subject_id} class="notes-other">
              <p class="hint">Written about an execution that belongs here now:</p>
              <Shown words={other} />
            </div>
          ))}
          {isAdmin && <button type="button" class="button" ref={opener} onClick={() => setDraft(draftOf(words))}>{words.notes === null && words.tags.length === 0 ? "Write a note" : "Edit"}</button>}
        </>
      ) : (
        <Editor path={path} words={words} draft={draft} setDraft={setDraft} keep={keep} close={close} refresh={refresh} />
      )}
    </Card>
  );
}

interface EditorProps {
  path: string;
  words: Words; // as they stand at the desk now
  draft: Draft;
  setDraft: (draft: Draft) => void;
  keep: (stored: Words) => void;
  close: () => void;
  refresh: () => void;
}

function Editor({ path, words, draft, setDraft, keep, close, refresh }: EditorProps): JSX.Element {
  const [isSending, setSending] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const [isOvertaken, setOvertaken] = useState(false);
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => field.current?.focus(), []);

  const store = async (): Promise<void> => {
    const tags = tagsOf(draft.tags);
    const refused = wrong(draft.notes, tags);
    setProblem(refused);
    if (refused !== null) return;
    setSending(true);
    try {
      const said = body(draft.notes, tags);
      const { annotation } = await (draft.base === null ? api.post<AnnotationAnswer>(path, said) : api.patch<AnnotationAnswer>(path, said, { "If-Match": String(draft.base) }));
      keep({ notes: annotation.notes, tags: annotation.tags, notes_version: annotation.version });
    } catch (error) {
      setSending(false);
      if (!(error instanceof ApiError) || (error.status !== 412 && error.status !== 409)) return setProblem(failureWords(error, REFUSED));
      setOvertaken(true);
      refresh();
    }
  };

  const take = (base: Draft): void => {
    setDraft(base);
    setOvertaken(false);
    field.current?.focus();
  };
  const escaped = (event: KeyboardEvent): void => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    close();
  };
  return (
    <form
      class="notes-form"
      onKeyDown={escaped}
      onSubmit={(event) => {
        event.preventDefault();
        void store();
      }}
    >
      {isOvertaken && <Overtaken theirs={words} isThere={words.notes_version !== draft.base} onTake={() => take(draftOf(words))} onKeep={() => take({ ...draft, base: words.notes_version })} />}
      <label class="field">
        <span>Notes</span>
        <textarea rows={6} ref={field} value={draft.notes} onInput={(event) => setDraft({ ...draft, notes: event.currentTarget.value })} />
      </label>
      <label class="field">
        <span>Tags, separated by commas</span>
        <input type="text" autocomplete="off" value={draft.tags} onInput={(event) => setDraft({ ...draft, tags: event.currentTarget.value })} />
      </label>
      {problem !== null && <p role="alert" class="form-problem">{problem}</p>}
      <p class="form-buttons">
        <button type="submit" class="button primary" disabled={isSending || isOvertaken}>{isSending ? "Storing…" : "Store"}</button>
        <button type="button" class="button" onClick={close}>Cancel</button>
      </p>
    </form>
  );
}

function Shown({ words }: { words: Pick<Words, "notes" | "tags"> }): JSX.Element {
  if (words.notes === null && words.tags.length === 0) return <p class="hint">Nothing has been written about this position.</p>;
  return (
    <>
      {words.notes !== null && <p class="notes-text">{words.notes}</p>}
      {words.tags.length > 0 && (
        <ul class="notes-tags" aria-label="Tags">
          {words.tags.map((tag) => <li key={tag}><Badge tone="info">{tag}</Badge></li>)}
        </ul>
      )}
    </>
  );
}

interface OvertakenProps {
  theirs: Words;
  isThere: boolean; // their version has arrived
  onTake: () => void;
  onKeep: () => void;
}

function Overtaken({ theirs, isThere, onTake, onKeep }: OvertakenProps): JSX.Element {
  return (
    <div role="alert" class="notes-overtaken">
      <p>Somebody stored other words while you were typing. Nothing of yours is lost: it stands below. {isThere ? "Stored now:" : "Theirs are being fetched."}</p>
      {isThere && (
        <>
          <Shown words={theirs} />
          <p class="form-buttons">
            <button type="button" class="button" onClick={onKeep}>Keep mine</button>
            <button type="button" class="button" onClick={onTake}>Take theirs</button>
          </p>
        </>
      )}
    </div>
  );
}
