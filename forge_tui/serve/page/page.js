"use strict";
// Beside textual-serve's terminal: where its websocket is, the focus, and why a session has ended.
(() => {
  const LOST = "The connection is lost: the server has ended, or the way to it is closed. Runs continue.";
  const LONG = "The session was ended: the pasted text is too long. Runs continue.";
  const NO_TERMINAL = "This browser cannot draw the terminal, which needs WebGL 2: open the address in another one.";
  const TOO_LONG = 1009;
  const NARROW = 640; // pixels
  const terminal = document.getElementById("terminal");
  const ended = document.getElementById("ended");
  const again = document.getElementById("again");

  if (window.innerWidth < NARROW) {
    terminal.dataset.fontSize = "10"; // so that a telephone has the 60 columns that the UI needs
  }
  terminal.dataset.sessionWebsocketUrl = location.origin.replace(/^http/, "ws") + location.pathname + "ws";

  function show(words) {
    document.getElementById("ended-words").textContent = words;
    document.body.classList.add("-closed");
    ended.hidden = false;
    again.focus();
  }

  again.addEventListener("click", () => location.reload());

  let words = "";
  window.WebSocket = class extends window.WebSocket {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", (event) => {
        if (typeof event.data === "string") {
          const [kind, value] = JSON.parse(event.data);
          if (kind === "ended") {
            words = value;
          }
        }
      });
      this.addEventListener("open", () => terminal.querySelector(".xterm-helper-textarea").focus());
      this.addEventListener("close", (event) => show(words || (event.code === TOO_LONG ? LONG : LOST)));
    }

    // The terminal also sends before the connection is open, which is an error.
    send(data) {
      if (this.readyState === this.OPEN) {
        super.send(data);
      }
    }
  };

  // The terminal is made when everything has been loaded.
  window.addEventListener("load", () =>
    setTimeout(() => {
      if (terminal.querySelector(".xterm-helper-textarea") === null) {
        show(NO_TERMINAL);
      }
    }),
  );
})();
