// What every answer and every page of a list says; the answers themselves are generated into types.ts.
import type { BookState } from "./types.ts";

export type { Trade } from "./types.ts";

export interface Frame {
  ok: boolean;
  as_of_ts: number;
  as_of_at: string;
  data_as_of_ts: number | null;
  data_as_of_at: string | null;
  books: Record<string, BookState>;
}

export interface Page extends Frame {
  count: number;
  has_more: boolean;
  next_cursor: string | null;
}
