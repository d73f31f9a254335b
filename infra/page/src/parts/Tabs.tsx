// A choice among a few, as a tab list or as toggle buttons with counts; arrow keys move, the choice lives with the caller.
import type { JSX, TargetedKeyboardEvent } from "preact";
import { useId } from "preact/hooks";

export interface Tab {
  key: string;
  title: string;
  count?: number;
}

interface Props {
  label: string;
  tabs: readonly Tab[];
  chosen: string;
  choose: (key: string) => void;
  panel?: string; // id of what the tabs switch
}

export function Tabs({ label, tabs, chosen, choose, panel }: Props): JSX.Element {
  const id = useId();
  const move = (event: TargetedKeyboardEvent<HTMLDivElement>): void => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : undefined;
    const at = tabs.findIndex(({ key }) => key === chosen);
    const to = event.key === "Home" ? 0 : event.key === "End" ? tabs.length - 1 : step === undefined ? null : (at + step + tabs.length) % tabs.length;
    const next = to === null ? undefined : tabs[to];
    if (next === undefined) return;
    event.preventDefault();
    choose(next.key);
    document.getElementById(`${id}-${next.key}`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} onKeyDown={move}>
      {tabs.map(({ key, title, count }) => (
        <button
          key={key}
          id={`${id}-${key}`}
          type="button"
          role="tab"
          class="tab"
          aria-selected={key === chosen}
          aria-controls={panel}
          tabIndex={key === chosen ? 0 : -1}
          onClick={() => choose(key)}
        >
          {title}
          {count !== undefined && <span class="count">{count}</span>}
        </button>
      ))}
    </div>
  );
}

// The same look for a filter: buttons that are pressed or not.
export function Toggle({ label, tabs, chosen, choose }: Omit<Props, "panel">): JSX.Element {
  return (
    <div class="tabs toggle" role="group" aria-label={label}>
      {tabs.map(({ key, title, count }) => (
        <button key={key} type="button" class="tab" aria-pressed={key === chosen} onClick={() => choose(key)}>
          {title}
          {count !== undefined && <span class="count">{count}</span>}
        </button>
      ))}
    </div>
  );
}
