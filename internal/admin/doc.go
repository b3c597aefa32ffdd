// Package admin is a daemon's own side: health, metrics and status on a TCP
// port, and the commands of the local user on a Unix socket, with the client
// for them.
//
// The TCP port ([Public]) answers GET and HEAD only and changes nothing; the
// Unix socket ([Local]), which only the daemon's own user can open, answers the
// same and takes commands. What is not in [Routes] is 404 on both. Profiles are
// on the socket alone, because they show memory.
//
//	GET  /healthz      200 while the process serves
//	GET  /readyz       200, or 503 with what is missing, one line each
//	GET  /metrics      Prometheus
//	GET  /v1/status    JSON
//	GET  /v1/explain   JSON: ?object=DIGEST or ?image=REFERENCE (socket)
//	POST /v1/pull      JSON lines of pull.Event, or 202 with ?background (socket)
//	GET  /debug/pprof/ profiles (socket)
//
// A daemon adds routes of its own with Daemon.More.
//
// The handlers hold no state of their own and are safe for concurrent use.
package admin
