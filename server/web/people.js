// What pages cannot do without a script: passkeys, and the code behind the # of a link.
"use strict";

// problem says what went wrong beside what was pressed.
const problem = (element, text) => {
  const p = element.closest("section").querySelector("[data-problem]");
  p.textContent = text;
  p.hidden = !text;
};

// ask posts JSON and gives the answer, or throws what the server says.
const ask = async (path, body) => {
  const resp = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const answer = await resp.json();
  if (!resp.ok) throw new Error([answer.message, answer.next].filter(Boolean).join(" "));
  return answer;
};

const signIn = async (button) => {
  const options = await ask("/sign-in/passkey/options", { next: button.dataset.next });
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  const credential = await navigator.credentials.get({ publicKey });
  return ask("/sign-in/passkey", credential.toJSON());
};

const add = async (form) => {
  const options = await ask("/me/passkeys/options", {});
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  const credential = await navigator.credentials.create({ publicKey });
  return ask("/me/passkeys", { name: form.elements.name.value, credential: credential.toJSON() });
};

// run does one of the two and goes where the server says, a path of its own.
const run = async (what, element) => {
  const button = element.querySelector("button") || element;
  button.disabled = true;
  problem(element, "");
  try {
    location.assign((await what(element)).next);
  } catch (e) {
    problem(element, e.name === "NotAllowedError" ? "The passkey was not used. Try again when you are ready." : e.name === "InvalidStateError" ? "This device has a passkey of yours already." : e.message);
    button.disabled = false;
  }
};

const able = window.PublicKeyCredential && PublicKeyCredential.parseRequestOptionsFromJSON;
for (const element of document.querySelectorAll("[data-passkey]")) {
  if (!able) {
    element.hidden = true;
    problem(element, "This browser is too old for passkeys.");
    continue;
  }
  element.hidden = false;
  if (element.dataset.passkey === "add") {
    element.addEventListener("submit", (e) => { e.preventDefault(); run(add, element); });
  } else {
    element.addEventListener("click", () => run(signIn, element));
  }
}

// The code of a link goes from the address into the form, and out of the address and the history.
const code = location.hash.slice(1);
const field = document.getElementById("code");
if (field && code.startsWith("sq_lnk_")) {
  field.value = code;
  document.querySelector("[data-needs-code]").hidden = true;
  document.querySelector("[data-has-code]").hidden = false;
  history.replaceState(null, "", location.pathname + location.search);
}
