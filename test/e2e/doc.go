// Package e2e proves Shoal from outside: its real programs, before real
// registries, under docker, containerd, podman and skopeo.
//
// The tests are behind the build tag e2e and need root, Linux and these Debian
// packages: busybox-static containerd runc docker.io podman crun skopeo umoci
// docker-registry iproute2. Where something is missing, the whole package says
// what in one line and passes without testing:
//
//	go test -tags e2e -timeout 20m -v ./test/e2e
//
// Every test starts what it needs with directories and sockets of its own under
// one scratch directory, and stops it again. When all are done, the package
// fails if a process, mount, socket or control group of its own is left.
//
// Nothing is asserted about time. Where a test must act in the middle of a
// transfer, a gate before the registry (testregistry.Gate) holds it there.
//
// What takes minutes runs only with -heavy, after -args: images of a million
// entries and of 20 GiB, mounted lazily.
//
// E2E_SHOAL_KEEP=1 keeps the scratch directory, with every daemon's log.
package e2e
