//go:build e2e && linux

package e2e

import "testing"

func startMirror(t *testing.T, o origins) string { return startStandIn(t, o) }
