/** Light or dark: as the system has it until the button says otherwise, which is remembered. */
const KEY = "tenfold-theme";

function remembered(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    // a page without storage forgets
    return null;
  }
}

function remember(theme: string): void {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // a page without storage forgets
  }
}

/** `fixed` is the theme where something else decides. */
export function followTheme(button: HTMLElement, fixed: string | null = null): void {
  const preference = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const set = (theme: string): void => {
    root.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light" : "Dark";
  };
  const follow = (): void => set(fixed ?? remembered() ?? (preference.matches ? "dark" : "light"));
  preference.addEventListener("change", follow);
  button.addEventListener("click", () => {
    const theme = root.dataset.theme === "dark" ? "light" : "dark";
    set(theme);
    remember(theme);
  });
  follow();
}
