// Whose figures are shown and as of when: both stand in the address and go along from view to view.
import { useMemo } from "preact/hooks";
import { navigate, route, useRoute, type Params } from "./router.tsx";

export const BOOKS_MAX = 10;
export const LIVE = "live";

export interface Scope {
  books: readonly string[]; // ids; ["live"] when the address names none
  asOf: string | null; // ISO with zone; null is now
  query: Readonly<Record<string, string>>; // `books` and `as_of` for a request of the read API
}

function scopeOf(params: Params): Scope {
  const named = (params["books"] ?? "").split(",").filter((one) => one !== "");
  const books = named.length === 0 ? [LIVE] : named.slice(0, BOOKS_MAX);
  const asOf = params["as_of"] ?? null;
  return { books, asOf, query: { books: books.join(","), ...(asOf === null ? {} : { as_of: asOf }) } };
}

export function useScope(): Scope {
  const { params } = useRoute();
  const { books, as_of } = params;
  return useMemo(() => scopeOf(params), [books, as_of]);
}

export function chooseBooks(books: readonly string[]): void {
  const isUsual = books.length === 0 || (books.length === 1 && books[0] === LIVE);
  navigate(location.pathname, { ...route().params, books: isUsual ? null : books.slice(0, BOOKS_MAX).join(",") });
}

export function chooseAsOf(asOf: string | null): void {
  navigate(location.pathname, { ...route().params, as_of: asOf });
}

export function isReplay(book: string): boolean {
  return book.startsWith("replay:");
}

// Minutes after which a figure of the book is late, and after which it is old, while its market is open (tracker.md 7).
export function limits(book: string): { late: number; old: number } {
  return book === LIVE || isReplay(book) ? { late: 2, old: 10 } : { late: 30, old: 90 };
}
