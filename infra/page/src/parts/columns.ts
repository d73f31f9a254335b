// Columns in short: their title is their key as well.
import type { ComponentChildren } from "preact";
import type { Column } from "./Table.tsx";

type Cell<R> = (row: R) => ComponentChildren;

export function column<R>(title: string, cell: Cell<R>): Column<R> {
  return { key: title, title, cell };
}

export function numeric<R>(title: string, cell: Cell<R>): Column<R> {
  return { key: title, title, cell, numeric: true };
}

// The column that names the row.
export function heading<R>(title: string, cell: Cell<R>): Column<R> {
  return { key: title, title, cell, heading: true };
}
