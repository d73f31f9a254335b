// The choice of the theme; theme.ts at the page's top does what it says.
import { kept, store, useStore } from "../lib/store.ts";

export type Theme = "system" | "light" | "dark";

const ORDER: readonly Theme[] = ["system", "light", "dark"];

function read(): Theme {
  const found = kept.get("theme");
  return found === "light" || found === "dark" ? found : "system";
}

const chosen = store<Theme>(read());

export function useTheme(): [Theme, () => void] {
  const now = useStore(chosen);
  const turn = (): void => {
    const next = ORDER[(ORDER.indexOf(now) + 1) % ORDER.length] ?? "system";
    kept.set("theme", next === "system" ? null : next);
    chosen.set(next);
    dispatchEvent(new Event("fillbook:theme"));
  };
  return [now, turn];
}
