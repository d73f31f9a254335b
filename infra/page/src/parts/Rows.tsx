// A table that becomes labelled rows on a phone. A row may open: what it then shows stands below it, and a refresh leaves it open.

import { Fragment, type ComponentChildren } from "preact";

export interface Column<T> {
  label: string;
  kind?: "number" | "words" | "head";
  tone?: (row: T) => string | undefined;
  cell: (row: T) => ComponentChildren;
}

interface Given<T> {
  caption: string;
  columns: readonly Column<T>[];
  rows: readonly T[];
  keyOf: (row: T) => string;
  opened?: string | null;
  detail?: (row: T) => ComponentChildren;
  isChosen?: (row: T) => boolean;
}

/** Rows under their columns; the column of kind `head` names the row. */
export function Rows<T>({ caption, columns, rows, keyOf, opened, detail, isChosen }: Given<T>) {
  return (
    <div class="rows-frame" tabIndex={0} role="region" aria-label={caption}>
      <table class="rows" role="table">
        <caption class="hidden">{caption}</caption>
        <thead role="rowgroup">
          <tr role="row">
            {columns.map((one) => (
              <th key={one.label} role="columnheader" scope="col" class={one.kind === "number" ? "number" : undefined}>{one.label}</th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {rows.map((row) => {
            const key = keyOf(row);
            return (
              <Fragment key={key}>
                <tr role="row" data-key={key} class={isChosen?.(row) ? "chosen" : undefined}>
                  {columns.map((one) => <Cell key={one.label} column={one} row={row} />)}
                </tr>
                {detail !== undefined && opened === key && (
                  <tr role="row" class="detail"><td role="cell" colSpan={columns.length}>{detail(row)}</td></tr>
                )}
              </Fragment>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function Cell<T>({ column, row }: { column: Column<T>; row: T }) {
  const content = column.cell(row);
  if (column.kind === "head") return <th role="rowheader" scope="row">{content}</th>;
  const tone = column.tone?.(row);
  const names = [column.kind, tone && `tone-${tone}`].filter(Boolean).join(" ");
  return <td role="cell" data-label={column.label} class={names || undefined}><span>{content}</span></td>;
}
