// Package version says which build this is. It holds no state.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// number is set by the linker: -X …/internal/version.number=v1.2.3.
var number string

// String is the build's number, or what the module system knows of it.
func String() string {
	if number != "" {
		return number
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// Line is what the version command prints for a program.
func Line(program string) string {
	return fmt.Sprintf("%s %s (%s, %s/%s)", program, String(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
