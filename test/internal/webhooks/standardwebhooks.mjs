// Takes the place of the npm package standardwebhooks: a request is genuine only if the packages
// standardwebhooks and svix both say so. The IDs of its events are appended to seen.txt.

import fs from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.ROLLCALL_BROWSER_NPM}/package.json`);

export class Webhook {
  #standard;
  #svix;

  constructor(secret) {
    this.#standard = new (require("standardwebhooks").Webhook)(secret);
    this.#svix = new (require("svix").Webhook)(secret);
  }

  verify(body, headers) {
    let content, refused;
    try {
      content = this.#standard.verify(body, headers);
    } catch (error) {
      refused = error;
    }
    try {
      this.#svix.verify(body, headers);
    } catch (error) {
      if (refused) throw refused;
      throw new Error(`only svix refuses the request: ${error}`);
    }
    if (refused) throw new Error(`only standardwebhooks refuses the request: ${refused}`);
    fs.appendFileSync("seen.txt", content.events.map((e) => `${e.id}\n`).join(""));
    return content;
  }
}
