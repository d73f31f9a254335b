// Nothing to show: what would stand here, and why it does not.
import type { ComponentChildren, JSX } from "preact";

export function Empty({ title, children }: { title: string; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children !== undefined && <p class="hint">{children}</p>}
    </div>
  );
}
