// Before anything is painted: what was chosen last time.
try {
  const theme = localStorage.getItem("laneway-theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // Where nothing may be kept, the system's choice is as good.
}
