// Runs what README.md of the package shows for pages: page.js, of which logged has the output, and
// Readme.jsx; and Toasts.jsx of docs/clients.md.
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { RollcallProvider } from "rollcall-client/react";
import App from "./Readme.jsx";
import Toasts from "./Toasts.jsx";

globalThis.logged = [];
const { log } = console;
console.log = (...values) => {
  logged.push(values.join(" "));
  log(...values);
};
createRoot(document.getElementById("root")).render(
  <StrictMode>
    <App />
    <RollcallProvider getToken={async () => (await fetch("/token?user=joan")).text()}><Toasts /></RollcallProvider>
  </StrictMode>,
);
import("./page.js");
