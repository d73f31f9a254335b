// How the page is built: one HTML file, few chunks with hashed names, no source maps, and the theme's script ahead of everything.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";
import { favicon } from "./favicon.ts";
import { leavesOutUnnamed } from "./unnamed.ts";

// What draws comes with the first chart. All else travels in two pieces, because view by view it is 7 kB heavier: what most days
// begin with, and the views that are opened from there, with the parts that only they are made of.
const CHARTS = /node_modules\/lightweight-charts\/|src\/parts\/(ChartCanvas|ground)/;
const VIEWS = /src\/(views\/(History|Journey|Snapshot|Accounts|Replay|Alerts|BookName|failure|(history|journey|snapshot|accounts|replay|alerts)\/)|parts\/(Action|Book|Copy|Hash|Label|More|Opener|columns)\.|lib\/list)/;
const PAGE = /src\/(?!theme)|node_modules\/preact\/|rolldown\/runtime|vite\/preload-helper/;

// The theme must stand before the first paint, so its script is a plain one that holds up the page: Vite only knows modules.
function themeFirst(): Plugin {
  return {
    name: "theme-first",
    transformIndexHtml: {
      order: "post",
      handler(_html, context) {
        const chunk = Object.values(context.bundle ?? {}).find((one) => one.type === "chunk" && one.name === "theme");
        const src = chunk === undefined ? "/src/theme.ts" : `/${chunk.fileName}`;
        const attrs = chunk === undefined ? { type: "module", src } : { src };
        return [{ tag: "script", attrs, injectTo: "head-prepend" }];
      },
    },
  };
}

// Browsers that ask for /favicon.ico get the picture in the palette's own colours.
function oldIcon(): Plugin {
  const tokens = readFileSync("src/styles/tokens.css", "utf-8");
  const value = (name: string): string => new RegExp(`--tt-${name}: (#[0-9a-f]{6});`).exec(tokens)?.[1] ?? "";
  return {
    name: "old-icon",
    generateBundle() {
      this.emitFile({ type: "asset", fileName: "favicon.ico", source: favicon(value("bg-surface"), value("accent")) });
    },
  };
}

// The shorter form of JSX needs its two names in each file that has any.
function shortJsx(): Plugin {
  const names = `import { h as h$, Fragment as f$ } from "preact";`;
  return { name: "short-jsx", enforce: "pre", transform: (code, id) => (/\/src\/.*\.tsx$/.test(id) ? { code: names + code, map: null } : null) };
}

// A view's styles hold within that view alone, so that two views may call different things by one name. views/common.css belongs
// to the views that import it. The frame marks what it shows with the class `view-<name>`.
function ownStyles(): Plugin {
  const shared = ":where(.view-alerts, .view-replay, .view-snapshot, .view-accounts)";
  return {
    name: "own-styles",
    enforce: "pre",
    transform(code, id) {
      const name = /\/src\/views\/(\w+)\.css$/.exec(id)?.[1];
      if (name === undefined || name === "login") return null;
      return { code: `${name === "common" ? shared : `.view-${name}`} {\n${code}\n}`, map: null };
    },
  };
}

// All styles come with the page, so what is loaded later is loaded plainly.
function plainImports(): Plugin {
  return {
    name: "plain-imports",
    enforce: "pre",
    load: (id) => (id.includes("vite/preload-helper") ? "export const __vitePreload = (load) => load();" : null),
  };
}

export default defineConfig({
  appType: "mpa",
  publicDir: false,
  plugins: [themeFirst(), oldIcon(), shortJsx(), ownStyles(), plainImports(), leavesOutUnnamed("charts")],
  resolve: { alias: { "fancy-canvas": fileURLToPath(new URL("src/parts/ground.ts", import.meta.url)) } },
  oxc: { jsx: { runtime: "classic", pragma: "h$", pragmaFrag: "f$" } },
  build: {
    target: "es2022",
    cssTarget: ["chrome123", "firefox121", "safari17.5"],
    sourcemap: false,
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    modulePreload: false,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 300,
    emptyOutDir: true,
    rolldownOptions: {
      input: { index: "index.html", theme: "src/theme.ts" },
      output: {
        codeSplitting: {
          groups: [
            { name: "charts", test: CHARTS, priority: 2, includeDependenciesRecursively: false },
            { name: "views", test: VIEWS, priority: 1, includeDependenciesRecursively: false },
            { name: "page", test: PAGE, includeDependenciesRecursively: false },
          ],
        },
      },
    },
  },
});
