package node

import (
	"strings"
	"testing"
)

func TestConfigReportsEveryProblem(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{Listen: "7401"}.Validate()
	for _, field := range []string{"listen", "keepalive", "dial_timeout", "write_timeout", "queue_messages", "queue_bytes", "max_conns"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not reported: %v", field, err)
		}
	}
}
