// What Gradio's components cannot do themselves: buttons inside the transcript, saving a file, colors, scrolling, live regions.
() => {
  const byId = id => document.getElementById(id);

  // A click in the transcript becomes an event of the component, with the message's id.
  window.empatheticAction = (event, trigger) => {
    const button = event.target.closest("button[data-action]");
    if (!button) return;
    const { action, id } = button.dataset;
    if (action === "like" || action === "dislike") trigger("like", { id, rating: action === "like" ? "up" : "down" });
    else trigger(action, { id });
    if (action === "retry") byId("stop").focus();
  };

  window.empatheticFocus = id => byId(id).querySelector("textarea, input")?.focus();

  window.empatheticDownload = file => {
    if (!file) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([file.text], { type: "text/plain" }));
    link.download = file.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  const paint = theme => document.body.classList.toggle("dark", theme === "dark");
  window.empatheticTheme = () => {
    const theme = document.body.classList.contains("dark") ? "light" : "dark";
    localStorage.setItem("empathetic-theme", theme);
    paint(theme);
  };
  const chosen = localStorage.getItem("empathetic-theme");
  if (chosen) paint(chosen);

  // The message box is for writing as soon as the earlier conversation is there.
  const waiting = setInterval(() => {
    const box = document.querySelector("#message textarea:not([disabled])");
    if (!box) return;
    clearInterval(waiting);
    box.focus();
  }, 50);

  byId("announcer").setAttribute("aria-live", "polite");
  byId("alert").setAttribute("role", "alert");
  const scroll = byId("scroll");
  scroll.setAttribute("tabindex", "0");
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Conversation with Mira");
  // Follow the conversation, unless the person has scrolled up to read.
  let follows = true;
  scroll.addEventListener("scroll", () => {
    follows = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
  });
  new MutationObserver(() => {
    if (follows) scroll.scrollTop = scroll.scrollHeight;
  }).observe(byId("talk"), { childList: true, subtree: true, characterData: true });
}
