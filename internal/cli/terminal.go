package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Terminal tells whether w is a terminal, and how to ask for its width.
func Terminal(w io.Writer) (width func() int, ok bool) {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil, false
	}
	return func() int {
		columns, _, err := term.GetSize(int(file.Fd()))
		if err != nil || columns <= 0 {
			return 80
		}
		return columns
	}, true
}
