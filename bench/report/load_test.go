package report

import (
	"testing"
	"time"
)

func TestBusyLeavesIdleAndWaitingOut(t *testing.T) {
	got, err := parseBusy("cpu  100 1 20 5000 700 3 4 5 60 70\ncpu0 1 2 3\n")
	if err != nil || got != 1330*time.Millisecond {
		t.Errorf("got %s, %v; want 1.33s", got, err)
	}
	for _, bad := range []string{"", "cpu 1 2", "intr 1 2 3 4 5 6 7 8 9", "cpu a 1 1 1 1 1 1 1"} {
		if _, err := parseBusy(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if busy, err := MachineBusy(); err != nil || busy <= 0 {
		t.Errorf("this machine was busy for %s, %v", busy, err)
	}
}
