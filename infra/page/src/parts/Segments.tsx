// A few choices side by side, of which one holds.

interface Given {
  label: string;
  options: readonly (readonly [string, string])[];
  chosen: string;
  onChoose: (value: string) => void;
}

export function Segments({ label, options, chosen, onChoose }: Given) {
  return (
    <div class="segments" role="group" aria-label={label}>
      {options.map(([value, words]) => (
        <button key={value} type="button" aria-pressed={value === chosen} onClick={() => onChoose(value)}>{words}</button>
      ))}
    </div>
  );
}
