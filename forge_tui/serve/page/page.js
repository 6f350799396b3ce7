"use strict";
// Beside textual-serve's terminal: where its websocket is, the focus, and why a session has ended.
(() => {
  const LOST = "The connection is lost: the server has ended, or the way to it is closed. Runs continue.";
  const NO_WEBGL = "This browser has no WebGL 2, which the terminal is drawn with: open the address in another one.";
  const terminal = document.getElementById("terminal");
  const ended = document.getElementById("ended");
  const again = document.getElementById("again");

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
      this.addEventListener("close", () => show(words || LOST));
    }
  };

  // After the terminal has been made, which it is when everything has been loaded.
  window.addEventListener("load", () =>
    setTimeout(() => {
      const input = terminal.querySelector(".xterm-helper-textarea");
      if (input !== null) {
        input.focus();
      } else if (document.createElement("canvas").getContext("webgl2") === null) {
        show(NO_WEBGL);
      }
    }),
  );
})();
