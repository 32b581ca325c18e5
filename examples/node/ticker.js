// The worker: a line every two seconds until SIGTERM.
const { LOCKSTEP_RELEASE = "local" } = process.env;

let tick = 0;
const timer = setInterval(() => console.log(`ticker ${LOCKSTEP_RELEASE}: tick ${++tick}`), 2000);
console.log(`ticker ${LOCKSTEP_RELEASE}: started`);

process.on("SIGTERM", () => {
  clearInterval(timer);
  console.log(`ticker ${LOCKSTEP_RELEASE}: told to stop, bye`);
});
