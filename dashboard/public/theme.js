// Before the first paint, so that nothing flashes; a file of its own, since the policy allows no inline script.
{
  const choice = localStorage.getItem("theme")
  const dark = choice === "dark" || (choice !== "light" && matchMedia("(prefers-color-scheme: dark)").matches)
  document.documentElement.dataset.theme = dark ? "dark" : "light"
}
