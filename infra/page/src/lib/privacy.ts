// Privacy: amounts, quantities and account labels never reach the document while it is on. Kept per browser, read before anything is drawn.
import { kept, store, useStore } from "./store.ts";

export const HIDDEN = "•••";

const on = store<boolean>(kept.get("privacy") === "on");

on.watch((value) => kept.set("privacy", value ? "on" : null));
addEventListener("storage", (event) => {
  if (event.key === "fillbook.privacy") on.set(event.newValue === "on");
});

export const privacy = {
  isOn: (): boolean => on.get(),
  toggle: (): void => on.set(!on.get()),
};

export function usePrivacy(): boolean {
  return useStore(on);
}

// The text, or what stands in its place.
export function secret(text: string, isHidden: boolean): string {
  return isHidden ? HIDDEN : text;
}
