// A list that grows on demand: one question for its first rows, asked again with a larger limit, so that what is shown is always of one moment.
import { useRef, useState } from "preact/hooks";
import type { Query } from "../api/client.ts";
import { CALM_SECONDS, usePolled, type Polled } from "./poll.ts";
import { href } from "./router.tsx";

export interface Rows<R, A> extends Polled<A> {
  rows: readonly R[];
  more: (() => void) | null; // null: all of them are shown, or as many as one answer holds
  isCut: boolean; // there are more than one answer holds
}

interface Asked<R, A> {
  path: string | null;
  params?: Query;
  step: number; // rows at first, and with each "more"
  most: number; // rows of the largest answer
  rows: (answer: A) => readonly R[];
  seconds?: number;
}

export function useRows<R, A extends { has_more: boolean }>({ path, params = {}, step, most, rows, seconds = CALM_SECONDS }: Asked<R, A>): Rows<R, A> {
  const question = path === null ? null : href(path, params);
  const [limit, setLimit] = useState(step);
  const polled = usePolled<A>(path, { ...params, limit: String(limit) }, seconds);
  // the rows at hand stay while more of them are on their way, never those of another question
  const last = useRef<{ question: string | null; data: A | null }>({ question, data: null });
  if (last.current.question !== question) last.current = { question, data: null };
  if (polled.data !== null) last.current.data = polled.data;
  const { data } = last.current;
  const isMore = data?.has_more === true;
  return {
    ...polled,
    data,
    rows: data === null ? [] : rows(data),
    more: isMore && limit < most ? () => setLimit(Math.min(limit + step, most)) : null,
    isCut: isMore && limit >= most,
  };
}
