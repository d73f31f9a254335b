// A button that opens a small panel below itself; Esc and a press elsewhere close it, and focus goes back to the button.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";

interface Props {
  label: string;
  button: ComponentChildren;
  class?: string;
  children: ComponentChildren;
}

export function Popover({ label, button, class: own = "", children }: Props): JSX.Element {
  const id = useId();
  const [isOpen, setOpen] = useState(false);
  const place = useRef<HTMLDivElement>(null);
  const opener = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!isOpen) return;
    const away = (event: Event): void => {
      if (event.target instanceof Node && place.current?.contains(event.target) !== true) setOpen(false);
    };
    const escaped = (event: KeyboardEvent): void => {
      if (event.key !== "Escape") return;
      setOpen(false);
      opener.current?.focus();
    };
    for (const what of ["pointerdown", "focusin"]) document.addEventListener(what, away);
    document.addEventListener("keydown", escaped);
    return () => {
      for (const what of ["pointerdown", "focusin"]) document.removeEventListener(what, away);
      document.removeEventListener("keydown", escaped);
    };
  }, [isOpen]);
  return (
    <div class={`popover ${own}`} ref={place}>
      <button ref={opener} type="button" class="tool wide" aria-label={label} aria-expanded={isOpen} aria-controls={id} onClick={() => setOpen(!isOpen)}>{button}</button>
      <div id={id} class="popover-panel" hidden={!isOpen}>{isOpen && children}</div>
    </div>
  );
}
