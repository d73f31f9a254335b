// The keyboard's short ways: one key each, "g" and a letter for the views. They can be switched off, and typing is never taken from a field.
import { useEffect } from "preact/hooks";
import { refreshAll } from "../lib/poll.ts";
import { privacy } from "../lib/privacy.ts";
import { navigate } from "../lib/router.tsx";
import { kept, store, useStore } from "../lib/store.ts";
import { VIEWS } from "./views.ts";

const on = store<boolean>(kept.get("shortcuts") !== "off");
const G_MS = 1500;

export function useShortcuts(): [boolean, () => void] {
  const isOn = useStore(on);
  const toggle = (): void => {
    on.set(!isOn);
    kept.set("shortcuts", isOn ? "off" : null);
  };
  return [isOn, toggle];
}

export const SHORTCUTS: readonly (readonly [string, string])[] = [
  ["/", "go to the filter"],
  ["p", "privacy on or off"],
  ["r", "refresh now"],
  ["?", "this help"],
  ["Esc", "close what is open"],
  ...VIEWS.map(({ title, shortcut }) => [`g ${shortcut}`, title] as const),
];

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

export function useKeyboard(help: () => void): void {
  useEffect(() => {
    let wentAt = Number.NEGATIVE_INFINITY; // a page is younger than the wait for the second key
    const pressed = (event: KeyboardEvent): void => {
      if (!on.get() || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]") !== null) return;
      const view = event.timeStamp - wentAt < G_MS ? VIEWS.find(({ shortcut }) => shortcut === event.key) : undefined;
      wentAt = event.key === "g" ? event.timeStamp : Number.NEGATIVE_INFINITY;
      const actions: Readonly<Record<string, () => void>> = {
        p: privacy.toggle,
        r: refreshAll,
        "?": help,
        "/": () => document.querySelector<HTMLElement>("[data-filter]")?.focus(),
      };
      const action = view === undefined ? actions[event.key] : (): void => navigate(`/app/${view.key}`);
      if (action === undefined) return;
      event.preventDefault();
      action();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [help]);
}
