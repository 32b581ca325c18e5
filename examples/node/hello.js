// The cron job: one line, then it is done.
const { LOCKSTEP_RELEASE = "local" } = process.env;

console.log(`hello from release ${LOCKSTEP_RELEASE} on node ${process.version}`);
