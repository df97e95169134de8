// The agent in somebody's page: a button, and after a click a frame with the agent's own page.
//
//   <script src="…/embed.js" data-label="Talk to us" data-close="Close" defer></script>
//
// Rule 1: the frame is the agent's origin, so this page can neither hear the call nor read it, and cannot be styled by it.
// Rule 2: nothing is loaded from the agent before the click; the second click takes the frame away, which also hangs up.

(() => {
  const script = document.currentScript;
  const { label = "Talk to us", close = "Close", title = "Voice agent" } = script.dataset;
  const place = new URL("./", script.src);
  if (script.dataset.path) place.searchParams.set("path", script.dataset.path);

  // A style sheet of its own in a shadow tree: rules of the page stay outside, and its policy need not allow styles.
  const styles = new CSSStyleSheet();
  styles.replaceSync(`
    :host { all: initial; position: fixed; inset: auto 16px 16px auto; z-index: 2147483000; font: 16px system-ui, sans-serif; }
    div { display: flex; flex-direction: column; align-items: flex-end; gap: 8px; }
    iframe { width: min(400px, calc(100vw - 32px)); height: min(640px, calc(100vh - 96px)); border: 0; border-radius: 12px;
             box-shadow: 0 4px 24px rgb(0 0 0 / 35%); background: Canvas; color-scheme: light dark; }
    button { min-height: 48px; padding: 0 20px; border: 0; border-radius: 24px; font: inherit; font-weight: 600; cursor: pointer;
             color: #fff; background: #1f5fd0; box-shadow: 0 2px 8px rgb(0 0 0 / 30%); }
    button[aria-expanded="true"] { background: #3c4043; }
    button:focus-visible { outline: 3px solid #fff; outline-offset: -6px; }
  `);

  const host = document.createElement("voicepipe-agent");
  const shadow = host.attachShadow({ mode: "open" });
  shadow.adoptedStyleSheets = [styles];
  const box = document.createElement("div");
  const button = document.createElement("button");
  let frame = null;

  const show = () => {
    button.textContent = frame ? close : label;
    button.setAttribute("aria-expanded", String(frame !== null));
  };

  button.type = "button";
  button.addEventListener("click", () => {
    if (frame) {
      frame.remove();
      frame = null;
    } else {
      frame = document.createElement("iframe");
      frame.title = title;
      frame.allow = "microphone; autoplay; speaker-selection; screen-wake-lock";
      frame.src = place.href;
      box.prepend(frame);
    }
    show();
  });

  show();
  box.append(button);
  shadow.append(box);
  const attach = () => document.body.append(host);
  if (document.body) attach();
  else document.addEventListener("DOMContentLoaded", attach);
})();
