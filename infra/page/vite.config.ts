// How the page is built: one HTML file, chunks with hashed names, no source maps, and the theme's script ahead of everything.
import { defineConfig, type Plugin } from "vite";

const CHART = /node_modules\/(lightweight-charts|fancy-canvas)\//;

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

export default defineConfig({
  appType: "mpa",
  publicDir: false,
  plugins: [themeFirst()],
  build: {
    target: "es2022",
    sourcemap: false,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 300,
    emptyOutDir: true,
    rolldownOptions: {
      input: { index: "index.html", theme: "src/theme.ts" },
      output: {
        codeSplitting: { groups: [{ name: "charts", test: CHART }] },
      },
    },
  },
});
