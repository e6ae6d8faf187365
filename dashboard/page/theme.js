// Applies the chosen theme before anything is drawn. Not a module, so that it runs first.
(() => {
  const KEY = "highwater-theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
  const apply = (theme) => {
    root.dataset.theme = theme ?? "system";
    dispatchEvent(new Event("themechange"));
  };
  apply(stored());
  system.addEventListener("change", () => dispatchEvent(new Event("themechange")));
  addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      const chosen = stored();
      const dark = chosen ? chosen === "dark" : system.matches;
      const next = dark ? "light" : "dark";
      try { localStorage.setItem(KEY, next); } catch { /* A private window forgets; the page works all the same. */ }
      apply(next);
    });
  });
})();
