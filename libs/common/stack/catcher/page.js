// Times in the reader's zone, the list kept fresh, and "Delete all". The page works without.
const localTimes = () => {
  for (const time of document.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    const today = at.toDateString() === new Date().toDateString();
    time.textContent = time.className === "long" ? at.toLocaleString()
      : today ? at.toLocaleTimeString() : at.toLocaleDateString();
  }
};

let known = document.getElementById("count").textContent;
const refresh = async () => {
  try {
    const { messages } = await (await fetch("/api/state")).json();
    if (String(messages) === known) return;
    const fresh = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
    for (const id of ["list", "count", "clear"]) {
      const part = fresh.getElementById(id);
      if (part) document.getElementById(id).replaceWith(document.adoptNode(part));
    }
    known = String(messages);
    ready();
  } catch { /* the stack is away: ask again */ }
};

const ready = () => {
  localTimes();
  document.getElementById("clear").addEventListener("click", async () => {
    await fetch("/api/messages", { method: "DELETE" });
    location.href = "/";
  });
};

ready();
setInterval(refresh, 1500);
