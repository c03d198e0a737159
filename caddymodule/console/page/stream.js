// The event stream. It is read with fetch and not with EventSource, which hides why a stream is refused.

const again = 2000; // ms until another try
const silent = 5000; // ms without an event after which the page is no longer live
const longest = 8 << 20; // bytes of one event

// loggedOut reports whether the login in front of the console has ended: then it asks for another, or leads to a page
// for it. Such a redirect is not followed, as that page is no answer.
export const loggedOut = (response) => response.type === "opaqueredirect" || response.status === 401;

// Stream follows one view at a time.
export class Stream {
  #stop = null;
  #timer = 0;
  #last = 0;

  // on has the functions view(data), beat(data) and state(name, text).
  constructor(on) {
    this.on = on;
    setInterval(() => {
      if (this.#last && Date.now() - this.#last > silent) this.on.state("lost", "No answer from the server; what you see is old");
    }, 1000);
  }

  // follow opens the stream of another view.
  follow(query) {
    this.#stop?.abort();
    clearTimeout(this.#timer);
    const stop = (this.#stop = new AbortController());
    this.#read(query, stop.signal).then(
      () => "",
      (err) => err.message,
    ).then((why) => {
      if (stop.signal.aborted) return;
      // A stream ends now and then, so that the server decides again who may see it. Then another follows at once.
      if (why) this.on.state("lost", `${why}; what you see is old`);
      this.#timer = setTimeout(() => this.follow(query), why ? again : 0);
    });
  }

  async #read(query, signal) {
    let response;
    try {
      response = await fetch(`events?${query}`, { signal, cache: "no-store", redirect: "manual" });
    } catch {
      throw new Error("The server does not answer");
    }
    if (loggedOut(response)) throw new Error("You are no longer logged in: reload the page");
    if (!response.ok) {
      const problem = await response.json().catch(() => ({}));
      throw new Error(`Refused: ${problem.detail ?? response.status}`);
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (let began = Date.now(); ; ) {
      let part;
      try {
        part = await reader.read();
      } catch {
        throw new Error("The connection to the server broke");
      }
      if (part.done) {
        if (Date.now() - began < 1000) throw new Error("The server ends the stream");
        return;
      }
      rest += part.value;
      if (rest.length > longest) throw new Error("The server sends too much");
      const events = rest.split("\n\n");
      rest = events.pop();
      for (const event of events) this.#take(event, signal);
    }
  }

  #take(event, signal) {
    if (signal.aborted) return;
    const [, name, data] = /^event: (\w+)\ndata: (.*)$/s.exec(event) ?? [];
    if (!name) return;
    this.#last = Date.now();
    this.on[name]?.(JSON.parse(data));
  }
}
