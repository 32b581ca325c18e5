// The web part: says which release answers, and since when.
import { createServer } from "node:http";
import { hostname } from "node:os";
import ms from "ms";

const { PORT = "8000", LOCKSTEP_RELEASE = "local", LOCKSTEP_COMMIT = "" } = process.env;

const pages = {
  "/": () => ({
    release: LOCKSTEP_RELEASE,
    commit: LOCKSTEP_COMMIT,
    host: hostname(),
    node: process.version,
    up: ms(Math.round(process.uptime() * 1000), { long: true }),
  }),
  "/healthz": () => ({ healthy: true }),
};

const server = createServer((request, response) => {
  const path = request.url.split("?")[0];
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
  response.writeHead(page ? 200 : 404, { "Content-Type": "application/json" });
  response.end(JSON.stringify(page ? page() : { error: "no such page" }, null, 2) + "\n");
});

server.listen(Number(PORT), "0.0.0.0", () => console.log(`web ${LOCKSTEP_RELEASE}: listens on ${PORT}`));

process.on("SIGTERM", () => {
  console.log(`web ${LOCKSTEP_RELEASE}: told to stop, finishes its requests`);
  server.close();
});
