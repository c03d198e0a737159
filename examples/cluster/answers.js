// Asks every pod for all users of this host, again and again.
//
// A real page never holds the API key; only this example does. The request goes through this page's
// own server, which forwards it to the pod (see the Caddyfile), because browsers do not show
// responses of other origins.

const KEY = "demo-key";
const EVERY = 1_000; // ms
const PATIENCE = 5_000; // ms

// start calls show with the answers by pod after each answer. It returns a function that asks at
// once.
export function start(pods, show) {
  const results = new Map(pods.map((p) => [p.pod, {}]));

  async function ask(pod) {
    let result = {};
    try {
      const r = await fetch(`/pods/${pod}/message/allusers`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ apiKey: KEY, includeUsers: true }),
        signal: AbortSignal.timeout(PATIENCE),
      });
      result = { status: r.status };
      if (r.ok) {
        result.complete = r.headers.get("Rollcall-Complete") ?? "";
        result.missing = r.headers.get("Rollcall-Missing") ?? "";
        result.body = await r.json();
        // The order of users has no meaning.
        for (const dc of Object.values(result.body)) dc.authenticated.sort?.((a, b) => a.id.localeCompare(b.id));
      }
    } catch {
      result = { lost: true }; // this page's own server did not answer
    }
    results.set(pod, result);
    show(results);
  }

  // Each pod at its own pace, so that a stopped pod does not delay the others.
  async function keepAsking(pod) {
    if (!document.hidden) await ask(pod);
    setTimeout(keepAsking, EVERY, pod);
  }
  for (const p of pods) keepAsking(p.pod);
  return () => pods.forEach((p) => ask(p.pod));
}
