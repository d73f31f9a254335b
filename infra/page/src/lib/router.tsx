// Where the reader is: the address says the view, the thing looked at, and every filter, so that Back, reload and sharing keep them.
import type { AnchorHTMLAttributes, ComponentChildren, JSX, TargetedMouseEvent } from "preact";
import { useCallback } from "preact/hooks";
import { store, useStore } from "./store.ts";

export type Params = Readonly<Record<string, string>>;

export interface Route {
  view: string; // "positions"
  id: string | null; // of "/app/positions/<id>"
  params: Params; // the query's, each name once
}

export const HOME = "/app/today";

// What goes along from view to view: which books, and as of when.
const CARRIED = ["books", "as_of"] as const;

function read(): Route {
  const [, , view = "", id = ""] = location.pathname.split("/");
  return { view: view === "" ? "today" : view, id: id === "" ? null : decodeURIComponent(id), params: Object.fromEntries(new URLSearchParams(location.search)) };
}

const current = store<Route>(read());

addEventListener("popstate", () => current.set(read()));

export function route(): Route {
  return current.get();
}

export function useRoute(): Route {
  return useStore(current);
}

export type Given = Readonly<Record<string, string | null | undefined>>;

// The address of a path with a query in a fixed order; null, undefined and "" leave a name out.
export function href(path: string, params: Given = {}): string {
  const query = new URLSearchParams();
  for (const name of Object.keys(params).sort()) {
    const value = params[name];
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const text = query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
  return text === "" ? path : `${path}?${text}`;
}

// The same books and moment, seen from another view.
export function carried(params: Given = {}, from: Params = route().params): Given {
  const along: Record<string, string | undefined> = {};
  for (const name of CARRIED) along[name] = from[name];
  return { ...along, ...params };
}

export interface Going {
  replace?: boolean; // no new entry for Back: a filter was changed, not a page turned
}

// `params` is the whole query but for books and as_of, which go along unless they are named.
export function navigate(path: string, params: Given = {}, { replace = false }: Going = {}): void {
  const to = href(path, carried(params));
  if (to === location.pathname + location.search) return;
  const before = current.get();
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  current.set(read());
  const now = current.get();
  if (now.view !== before.view || now.id !== before.id) scrollTo(0, 0);
}

// Change some filters of the view at hand and keep the others; null takes one away.
export function useFilters(): [Params, (changes: Given) => void] {
  const { params } = useRoute();
  const change = useCallback((changes: Given) => navigate(location.pathname, { ...route().params, ...changes }, { replace: true }), []);
  return [params, change];
}

interface LinkProps extends Omit<AnchorHTMLAttributes<HTMLAnchorElement>, "href" | "role"> {
  to: string;
  params?: Given;
  children?: ComponentChildren;
}

// A link within the page; with a modifier key or the middle button it is the browser's own.
export function Link({ to, params, children, onClick, ...rest }: LinkProps): JSX.Element {
  useRoute(); // books and as_of of the address go along
  const follow = (event: TargetedMouseEvent<HTMLAnchorElement>): void => {
    onClick?.(event);
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(to, params);
  };
  return (
    <a {...rest} href={href(to, carried(params))} onClick={follow}>
      {children}
    </a>
  );
}
