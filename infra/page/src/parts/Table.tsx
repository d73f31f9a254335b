// A table with caption and header scopes; on a phone each row becomes a labelled block.
import { Fragment, type ComponentChildren, type JSX } from "preact";

export interface Column<R> {
  key: string;
  title: string;
  numeric?: boolean;
  cell: (row: R) => ComponentChildren;
  heading?: boolean; // the cell that names the row
}

interface Props<R> {
  caption: string;
  columns: readonly Column<R>[];
  rows: readonly R[];
  rowKey: (row: R) => string;
  rowClass?: (row: R) => string;
  detail?: (row: R) => ComponentChildren; // what stands below a row that is open; null for one that is not
  showCaption?: boolean;
  foot?: ComponentChildren; // rows of the table's foot
}

export function Table<R>({ caption, columns, rows, rowKey, rowClass, detail, showCaption = false, foot }: Props<R>): JSX.Element {
  return (
    <div class="table-frame" role="region" aria-label={caption} tabIndex={0}>
      <table class="table" role="table">
        <caption class={showCaption ? undefined : "visually-hidden"}>{caption}</caption>
        <thead role="rowgroup">
          <tr role="row">
            {columns.map(({ key, title, numeric }) => (
              <th key={key} role="columnheader" scope="col" class={numeric === true ? "numeric" : undefined}>{title}</th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {rows.map((row) => (
            <Fragment key={rowKey(row)}>
              <tr role="row" class={rowClass?.(row)}>
                {columns.map((column) => <Cell key={column.key} column={column} row={row} />)}
              </tr>
              <Detail span={columns.length}>{detail?.(row)}</Detail>
            </Fragment>
          ))}
        </tbody>
        {foot !== undefined && <tfoot role="rowgroup">{foot}</tfoot>}
      </table>
    </div>
  );
}

function Cell<R>({ column, row }: { column: Column<R>; row: R }): JSX.Element {
  const kind = column.numeric === true ? "numeric" : undefined;
  const content = column.cell(row);
  if (column.heading === true) return <th role="rowheader" scope="row" class={kind} data-label={column.title}>{content}</th>;
  return <td role="cell" class={kind} data-label={column.title}>{content}</td>;
}

function Detail({ span, children }: { span: number; children: ComponentChildren }): JSX.Element | null {
  if (children === null || children === undefined) return null;
  return <tr role="row" class="table-detail"><td role="cell" colSpan={span}>{children}</td></tr>;
}
