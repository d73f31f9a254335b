// A panel over the page: filters on a phone, help, about. Esc and the ground behind it close it, and focus goes back.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

interface Props {
  title: string;
  isOpen: boolean;
  close: () => void;
  children: ComponentChildren;
}

export function Sheet({ title, isOpen, close, children }: Props): JSX.Element | null {
  const id = useId();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const own = dialog.current;
    if (!isOpen || own === null) return;
    const before = document.activeElement;
    own.showModal();
    return () => {
      own.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, [isOpen]);
  if (!isOpen) return null;
  return (
    <dialog
      ref={dialog}
      class="sheet"
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        close();
      }}
      onClick={(event) => event.target === dialog.current && close()}
    >
      <div class="sheet-body">
        <header class="card-head">
          <h2 id={id}>{title}</h2>
          <button type="button" class="button quiet" onClick={close}>Close</button>
        </header>
        {children}
      </div>
    </dialog>
  );
}
