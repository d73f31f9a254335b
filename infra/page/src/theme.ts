// Sets the theme before the first paint: the user's choice, else the system's. A plain script of its own, without imports.
{
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: light)");
  const set = (): void => {
    let choice: string | null = null;
    try {
      choice = localStorage.getItem("fillbook.theme");
    } catch {
      // a browser that keeps nothing: the system's theme it is
    }
    root.dataset["theme"] = choice === "light" || choice === "dark" ? choice : system.matches ? "light" : "dark";
  };
  set();
  system.addEventListener("change", set);
  addEventListener("fillbook:theme", set);
}
