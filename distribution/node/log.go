package node

import (
	"log/slog"

	"github.com/libp2p/go-libp2p/gologshim"
)

// LogLibrary sends what libp2p itself logs to h. libp2p has one logger for the
// whole process, so a program calls this once, in main, before New; without it
// libp2p writes its errors to standard error.
func LogLibrary(h slog.Handler) { gologshim.SetDefaultHandler(h) }
