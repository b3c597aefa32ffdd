package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/shoal-project/shoal/internal/cli/clitest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"supernode": func() { os.Exit(run()) }})
}

func TestScripts(t *testing.T) { testscript.Run(t, clitest.Params(t)) }
