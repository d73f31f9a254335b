// A titled surface; the title is a heading that names the section.
import type { ComponentChildren, JSX } from "preact";
import { useId } from "preact/hooks";

interface Props {
  title: ComponentChildren;
  hint?: ComponentChildren; // a line under the title
  actions?: ComponentChildren; // controls beside the title
  class?: string;
  level?: 2 | 3;
  children: ComponentChildren;
}

export function Card({ title, hint, actions, class: own = "", level = 2, children }: Props): JSX.Element {
  const id = useId();
  const Heading = level === 2 ? "h2" : "h3";
  return (
    <section class={`card ${own}`} aria-labelledby={id}>
      <header class="card-head">
        <div>
          <Heading id={id}>{title}</Heading>
          {hint !== undefined && hint !== null && <p class="hint">{hint}</p>}
        </div>
        {actions !== undefined && <div class="card-actions">{actions}</div>}
      </header>
      {children}
    </section>
  );
}
