// Runs what README.md of the package shows for pages: page.js, of which logged has the output, and
// Readme.jsx.
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import App from "./Readme.jsx";

globalThis.logged = [];
const { log } = console;
console.log = (...values) => {
  logged.push(values.join(" "));
  log(...values);
};
createRoot(document.getElementById("root")).render(<StrictMode><App /></StrictMode>);
import("./page.js");
