// Which books the figures are of: one, or up to ten together; a replay's book carries its label.
import type { JSX } from "preact";
import { BOOKS_MAX, chooseBooks, isReplay, LIVE, useScope } from "../lib/books.ts";
import { HIDDEN, usePrivacy } from "../lib/privacy.ts";
import { Icon } from "../parts/Icon.tsx";
import { Popover } from "../parts/Popover.tsx";
import { useDesk } from "./desk.ts";

const EVERY = "all";

// "ibkr:U1234567" under privacy: the kind stays, the account does not.
export function bookWords(book: string, isHidden: boolean): string {
  if (book === EVERY) return "All books";
  const [kind = "", ...rest] = book.split(":");
  return rest.length === 0 || !isHidden || kind === "replay" ? book : `${kind}:${HIDDEN}`;
}

export function BookPicker(): JSX.Element {
  const { books } = useScope();
  const isHidden = usePrivacy();
  const known = useDesk()?.visible.map(({ book_id }) => book_id) ?? [];
  const all = [...new Set([LIVE, ...known, ...books.filter((one) => one !== EVERY)])];
  const isEvery = books.includes(EVERY);
  const words = books.length === 1 ? bookWords(books[0] ?? LIVE, isHidden) : `${books.length} books`;
  const turn = (book: string): void => {
    const now = isEvery ? [] : books;
    chooseBooks(now.includes(book) ? now.filter((one) => one !== book) : [...now, book]);
  };
  return (
    <Popover class="book-picker" label={`Books: ${words}`} button={<><Icon name="book" /><span class="picker-text">{words}</span><Icon name="down" /></>}>
      <fieldset class="choices">
        <legend>Books <span class="hint">up to {BOOKS_MAX}</span></legend>
        <label class="check"><input type="checkbox" checked={isEvery} onChange={() => chooseBooks(isEvery ? [LIVE] : [EVERY])} /> All books, without replays</label>
        {all.map((book) => {
          const isChosen = !isEvery && books.includes(book);
          return (
            <label class="check" key={book}>
              <input type="checkbox" checked={isChosen} disabled={!isChosen && !isEvery && books.length >= BOOKS_MAX} onChange={() => turn(book)} />
              <span class="book-name">{bookWords(book, isHidden)}</span>
              {isReplay(book) && <span class="replay-label">REPLAY</span>}
            </label>
          );
        })}
      </fieldset>
    </Popover>
  );
}
