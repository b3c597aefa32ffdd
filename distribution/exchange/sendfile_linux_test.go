package exchange

import (
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An asker that takes nothing holds the server where it sends: in sendfile.
func TestClearTextUsesSendfile(t *testing.T) {
	o := newObject(odd).onDisk(t)
	from, _ := serve(t, configOf(Clear), storeOf(o))
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}
	c, err := dialer.Dial("tcp", from.Chunks)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := request{"GET", pathPrefix + o.digest().String(), "bytes=0-4194303"}
	if _, err := io.WriteString(c, rawRequest(t, from.ID, r, time.Now())); err != nil {
		t.Fatal(err)
	}
	stacks := make([]byte, 1<<20)
	eventually(t, func() bool {
		for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(stack, "exchange.(*Server).serve") && strings.Contains(stack, "poll.SendFile") {
				return true
			}
		}
		return false
	})
}
