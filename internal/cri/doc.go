//go:build linux

// Package cri does with a container engine what a kubelet does, over Kubernetes'
// container runtime interface: it pulls images, runs pods and their containers,
// asks for their state and reads their logs. [Containerd] writes the configuration of
// an engine for that. Tests and measurements use it; no daemon does.
//
// Pods use the machine's own network, so no network plug-in is needed. Their first
// process is the package's own [Pause] image.
//
// A [Client] may be used by many goroutines at once, and so may what it gives.
//
// Formats: the protocol is k8s.io/cri-api's runtime.v1 on a Unix socket. Logs are
// files with lines of time, stream, tag and text, as a kubelet reads them.
package cri
