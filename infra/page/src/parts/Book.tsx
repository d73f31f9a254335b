// A book's name; the account in it is hidden under privacy, a replay carries its label.
import type { JSX } from "preact";
import { bookWords } from "../frame/BookPicker.tsx";
import { isReplay } from "../lib/books.ts";
import { usePrivacy } from "../lib/privacy.ts";

export function Book({ id }: { id: string | null }): JSX.Element {
  const isHidden = usePrivacy();
  if (id === null) return <span class="unknown">—</span>;
  return <span class="book">{bookWords(id, isHidden)}{isReplay(id) && <> <span class="replay-label">REPLAY</span></>}</span>;
}
