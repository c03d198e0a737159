// Makes the CommonJS files of the package from its ES modules, when npm packs it. It needs no packages:
// the modules use only the forms of import and export that are replaced here.
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";

const here = (name) => new URL(name, import.meta.url);
const write = (name, text) => writeFileSync(here(name), text);

for (const name of ["rollcall", "react"]) {
  const exported = [];
  const script = readFileSync(here(`${name}.js`), "utf8")
    .replace(/^import (\{.*\}) from (".*");$/gm, "const $1 = require($2);")
    .replace(/^export (class|function) (\w+)/gm, (_, kind, it) => (exported.push(it), `${kind} ${it}`))
    .replaceAll("import.meta.url", '""')
    .replaceAll('"./rollcall.js"', '"./rollcall.cjs"');
  const rest = script.match(/^(import|export)\b.*/m);
  if (rest) throw new Error(`${name}.js: build.mjs does not know this form: ${rest[0]}`);
  write(`${name}.cjs`, `${script}\nmodule.exports = { ${exported.join(", ")} };\n`);
  const types = readFileSync(here(`${name}.d.ts`), "utf8");
  write(`${name}.d.cts`, types.replaceAll('"./rollcall.js"', '"./rollcall.cjs"'));
}
copyFileSync(here("../../LICENSE"), here("LICENSE"));
