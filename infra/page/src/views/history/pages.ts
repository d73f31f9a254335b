// The pages of a list: the first one is kept fresh until a second is loaded; from then on the list stands as it was known, so that
// nothing is skipped and nothing comes twice, and the reader is told when newer data are there.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Trades } from "../../api/types.ts";
import { api, ApiError, type Query } from "../../api/client.ts";
import { usePolled, type Polled } from "../../lib/poll.ts";
import { href } from "../../lib/router.tsx";

interface Held {
  address: string;
  pages: readonly Trades[];
}

export interface Pages {
  first: Polled<Trades>;
  pages: readonly Trades[];
  isNewer: boolean; // the first page has changed since the second was loaded
  isLoading: boolean;
  error: ApiError | null; // of the page that was asked for last
  more: () => void;
  anew: () => void;
}

export function usePages(path: string, params: Query): Pages {
  const address = href(path, params);
  const first = usePolled<Trades>(path, params);
  const [held, setHeld] = useState<Held>({ address, pages: [] });
  const [isLoading, setLoading] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const now = useRef(address);
  now.current = address;
  useEffect(() => {
    setHeld({ address, pages: [] });
    setError(null);
    setLoading(false);
  }, [address]);

  const kept = held.address === address ? held.pages : [];
  const pages = kept.length > 0 ? kept : first.data === null ? [] : [first.data];
  const cursor = pages.at(-1)?.next_cursor ?? null;

  const more = (): void => {
    if (cursor === null || isLoading) return;
    setLoading(true);
    setError(null);
    api
      .get<Trades>(path, { ...params, cursor })
      .then((page) => now.current === address && setHeld({ address, pages: [...pages, page] }))
      .catch((reason: unknown) => now.current === address && setError(reason instanceof ApiError ? reason : new ApiError(0, "broken", String(reason))))
      .finally(() => now.current === address && setLoading(false));
  };
  const anew = (): void => {
    setHeld({ address, pages: [] });
    first.refresh();
  };
  return { first, pages, isNewer: kept.length > 1 && first.data !== null && first.data.trades !== kept[0]?.trades, isLoading, error, more, anew };
}
