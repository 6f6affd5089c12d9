// What an open page shows of what happens meanwhile (server-sent events; asking every ten seconds where there are none), and what the
// keyboard does beside links and buttons. A row never moves under the pointer: what is new is announced, and comes when it is asked for. Text of others
// reaches the page as text nodes only, or within a page that the server has made.
"use strict";
{
  const live = document.getElementById("live");
  const pollEvery = 10_000;

  const make = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const count = (n, one) => `${n} ${one}`;
  const later = (wait, what) => { // what, once for many asks
    let timer = 0;
    return () => {
      clearTimeout(timer);
      timer = setTimeout(what, wait);
    };
  };

  // ---- what is said about the page itself

  // The live regions are there before anything is said in them: only what changes in one is read out.
  const state = make("span", { class: "is" });
  const waiting = make("span", { class: "waiting" });
  const polite = make("span", { role: "status" });
  const show = make("button", { hidden: "" }, "Show");
  const urgent = make("div", { role: "alert" });

  const becomes = (text, off) => {
    if (state.textContent !== text) state.textContent = text;
    live.classList.toggle("off", off);
  };

  // stop takes away what must not be pressed before the page is read again.
  const stop = (text, link) => {
    for (const button of document.querySelectorAll("#decide button, #cancel, #undo, #sure")) button.disabled = true;
    polite.textContent = "";
    urgent.replaceChildren(make("p", { class: "problem" }, make("strong", {}, text), " ", link));
  };

  // ---- the page as it is now on the server

  // read gives the main part of this page as the server makes it now, or null when there is none to be had.
  const read = async () => {
    const resp = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
    if (resp.status === 401 || new URL(resp.url).pathname === "/sign-in") {
      end();
      stop("You are not signed in any more.", make("a", { href: "/sign-in?next=" + encodeURIComponent(location.pathname) }, "Sign in"));
      return null;
    }
    if (!resp.ok) throw new Error(resp.statusText);
    return new DOMParser().parseFromString(await resp.text(), "text/html").getElementById("main");
  };

  // replace puts in what the server has made, all of the page but what is said about it.
  const replace = (main) => {
    main.querySelector("#live").replaceWith(live);
    document.getElementById("main").replaceChildren(...main.childNodes);
  };

  // ---- lists

  const rows = (within) => [...within.querySelectorAll("[data-id]:not(#live)")];
  const fresh = new Set();
  const words = { approved: "approved", consumed: "approved", rejected: "denied", cancelled: "called off", expired: "lapsed", invalidated: "no longer valid" };

  const announce = () => {
    const n = fresh.size;
    show.hidden = n === 0;
    if (n) polite.textContent = live.dataset.page === "jobs" ? count(n, n === 1 ? "job has changed" : "jobs have changed") : count(n, "new");
    else polite.textContent = "";
  };

  // over marks a row that waits no longer, where it stands, and counts it out.
  const over = (row, how) => {
    if (row.classList.contains("over")) return;
    row.classList.add("over");
    row.querySelector(".left").replaceChildren(make("strong", {}, `${how} since`));
    row.querySelector(".votes").parentElement.remove();
    const heading = row.closest("#inbox") && document.getElementById("mine");
    const n = heading && /^\d+(?= waits? for you$)/.exec(heading.textContent)?.[0] - 1;
    if (n >= 0) heading.textContent = n === 0 ? "Nothing waits for you" : `${n} ${n === 1 ? "waits" : "wait"} for you`;
  };
  const waits = (row) => Boolean(row?.querySelector(".left time"));

  const rowOf = (id) => rows(document).find((row) => row.dataset.id === id);

  const lists = {
    told({ id, state }) {
      const row = rowOf(id);
      if (state === "pending") {
        if (!row) fresh.add(id);
      } else {
        fresh.delete(id);
        if (waits(row)) over(row, words[state] || state);
      }
      announce();
    },
    compare(main) {
      const now = new Map(rows(main).map((row) => [row.dataset.id, row]));
      for (const [id, row] of now) if (!rowOf(id) && waits(row)) fresh.add(id);
      for (const row of rows(document)) if (waits(row) && !waits(now.get(row.dataset.id))) over(row, "decided");
      announce();
    },
  };

  const jobs = {
    told({ id }) {
      fresh.add(id);
      announce();
    },
    compare(main) {
      const text = (row) => row.textContent.replace(/\d+ (minutes?|hours?|days?)( ago)?|now/g, "");
      const here = new Map(rows(document).map((row) => [row.dataset.id, text(row)]));
      for (const row of rows(main)) if (here.get(row.dataset.id) !== text(row)) fresh.add(row.dataset.id);
      announce();
    },
  };

  // insert brings in what was announced, and leads to the first of it.
  const insert = async () => {
    const had = new Set(rows(document).map((row) => row.dataset.id));
    const main = await read();
    if (!main) return;
    replace(main);
    const came = rows(document).filter((row) => !had.has(row.dataset.id) || fresh.has(row.dataset.id));
    for (const row of came) row.classList.add("came");
    fresh.clear();
    announce();
    const to = came[0]?.querySelector("a") || document.querySelector("main h1");
    if (to.matches("h1")) to.tabIndex = -1;
    to.focus();
  };
  show.addEventListener("click", () => insert().catch(lost));

  // ---- one request, one job

  const same = (main) => {
    const now = main.querySelector("#live").dataset;
    return now.state === live.dataset.state && now.seen === live.dataset.seen;
  };

  const one = {
    told: ({ id, approval, job }) => {
      if ([id, approval, job].includes(live.dataset.id)) look();
    },
    compare(main) {
      const decides = document.getElementById("decide");
      if (!same(main) && decides) {
        const how = words[main.querySelector("#live").dataset.state];
        stop(`This changed while you read${how ? `: it is ${how}` : ""}.`, make("a", { href: location.pathname }, "Read it as it is now"));
        return;
      }
      if (decides) refresh(main, { "section[aria-labelledby=votes-h]": null, "#decide .left": ".votes" });
      else refresh(main, { ".decided": ".now", ".job-now": "p" });
    },
  };

  // spoken is the text of an element without what is only drawn.
  const spoken = (element) => {
    const copy = element?.cloneNode(true);
    copy?.querySelectorAll("[aria-hidden]").forEach((drawn) => drawn.remove());
    return copy?.textContent.trim();
  };

  // refresh puts in the parts of a page that may change while it is read, and says of those that did what is said of them.
  const refresh = (main, parts) => {
    for (const [selector, said] of Object.entries(parts)) {
      const [old, now] = [document.querySelector(selector), main.querySelector(selector)];
      if (!old || !now || old.textContent === now.textContent || old.contains(document.activeElement)) continue;
      const words = said && spoken(now.querySelector(said));
      if (words && words !== spoken(old.querySelector(said))) polite.textContent = words;
      old.replaceWith(now);
    }
  };

  const page = { approvals: lists, jobs, approval: one, job: one }[live?.dataset.page];
  const look = later(300, () => read().then((main) => main && page.compare(main)).catch(lost));

  // ---- the stream

  let stream, poll, ended = false;

  // lost says since when nothing is heard, and asks instead.
  const lost = () => {
    if (ended || poll) return;
    const at = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    becomes(`Not live since ${at}, retrying`, true);
    if (stream.readyState === EventSource.CLOSED) look(); // it was refused, perhaps because nobody is signed in any more
    poll = setInterval(() => {
      read().then((main) => main && page.compare(main)).catch(() => {});
      if (stream.readyState === EventSource.CLOSED) open(); // a browser tries again by itself unless it was refused
    }, pollEvery);
  };

  const open = () => {
    stream = new EventSource("/events?after=" + live.dataset.after);
    stream.addEventListener("open", () => {
      clearInterval(poll);
      poll = 0;
      becomes("Live", false);
    });
    stream.addEventListener("error", lost);
    const hear = (kind, what) => stream.addEventListener(kind, (e) => {
      if (e.lastEventId) live.dataset.after = e.lastEventId;
      what(JSON.parse(e.data));
    });
    hear("approval", (told) => { if (page !== jobs) page.told(told); });
    hear("job", (told) => { if (page !== lists) page.told(told); });
    hear("counts", ({ approvals }) => { waiting.textContent = approvals ? `${approvals} ${approvals === 1 ? "waits" : "wait"} in all` : "Nothing waits"; });
    hear("reload", () => look());
  };

  const end = () => {
    ended = true;
    clearInterval(poll);
    stream?.close();
    becomes("Not live", true);
  };

  if (page) {
    live.append(make("p", {}, state, waiting, polite, show), urgent);
    live.hidden = false;
    becomes("Connecting", false);
    open();
    addEventListener("pagehide", () => stream.close());
    addEventListener("pageshow", (e) => { if (e.persisted && !ended) open(); });
  }

  // ---- focus

  // What went wrong is read first; the field for a reason is where somebody goes who opens it.
  const problem = document.querySelector(".problem[role=alert]:not([hidden])");
  if (problem && !problem.hasAttribute("data-problem")) {
    problem.tabIndex = -1;
    problem.focus();
  }
  const toReason = () => {
    const reason = document.getElementById("reason");
    if (reason && location.hash === "#why") reason.focus();
  };
  addEventListener("hashchange", toReason);

  // ---- keys

  // Single keys can be switched off (WCAG 2.1.4), and none of them decides: a leads to the button, and Enter presses it.
  const kept = { // a browser that keeps nothing throws
    get off() { try { return localStorage.getItem("dtcgate.keys") === "off"; } catch { return false; } },
    set off(off) { try { localStorage.setItem("dtcgate.keys", off ? "off" : "on"); } catch { /* until the page is left */ } },
  };

  const rowLinks = () => [...document.querySelectorAll(".card-row a, .job-row a")];
  const move = (by) => {
    const links = rowLinks();
    const at = links.indexOf(document.activeElement);
    links[at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + by, 0), links.length - 1)]?.focus();
  };
  const focusOn = (selector) => document.querySelector(selector)?.focus();
  const deny = () => {
    document.getElementById("why")?.classList.add("open");
    focusOn("#reason");
  };
  const filter = () => {
    document.querySelector("details.filter")?.setAttribute("open", "");
    focusOn(".filters select");
  };
  const keys = {
    j: ["Next", () => move(1)],
    k: ["The one before", () => move(-1)],
    Enter: ["Open it"],
    a: ["To the button that approves. Enter presses it", () => focusOn("#approve, #sure")],
    d: ["To the reason of a denial", deny],
    "/": ["To the filters", filter],
    "g a": ["Approvals", () => location.assign("/approvals")],
    "g j": ["Jobs", () => location.assign("/jobs")],
    "g u": ["Your account", () => location.assign("/me")],
    "?": ["This list", () => help.showModal()],
  };

  const choice = make("input", { type: "checkbox", id: "keys-on" });
  const help = make("dialog", { "aria-labelledby": "keys-h" },
    make("article", {},
      make("h2", { id: "keys-h" }, "Keys"),
      make("dl", {}, ...Object.entries(keys).map(([key, [what]]) => make("div", {}, make("dt", {}, ...key.split(" ").flatMap((k) => [make("kbd", {}, k), " "])), make("dd", {}, what)))),
      make("label", { class: "ack" }, choice, " Use these keys in this browser"),
      make("form", { method: "dialog" }, make("button", { class: "main" }, "Close"))));
  const opener = make("button", { class: "quiet", id: "keys" }, "Keys");

  const out = document.querySelector(".out");
  if (out) {
    out.before(opener);
    document.body.append(help);
    choice.checked = !kept.off;
    choice.addEventListener("change", () => { kept.off = !choice.checked; });
    opener.addEventListener("click", () => help.showModal());
  }

  let first = "";
  const typing = (target) => target.closest("input, textarea, select, [contenteditable], dialog");
  addEventListener("keydown", (e) => {
    if (!out || !choice.checked || e.ctrlKey || e.metaKey || e.altKey || e.isComposing || typing(e.target)) return;
    const what = keys[first ? `${first} ${e.key}` : e.key]?.[1];
    first = !first && e.key === "g" ? "g" : "";
    if (!what) return;
    e.preventDefault(); // else the key is typed into what has the focus now
    what();
  });
}
