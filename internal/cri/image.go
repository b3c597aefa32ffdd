//go:build linux

package cri

import (
	"fmt"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/internal/testimage"
)

// PauseProgram is the package of the program in the [Pause] image. It must be built
// without cgo.
const PauseProgram = "github.com/shoal-project/shoal/internal/cri/pause"

// Pause is an image for pods' first processes, of a program that was built.
func Pause(program string) (v1.Image, error) {
	binary, err := os.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("the program of the pause image: %w", err)
	}
	layer, err := testimage.NewLayer(testimage.Gzip, testimage.Tar(testimage.File("pause", 0o755, binary)))
	if err != nil {
		return nil, err
	}
	return testimage.Assemble(testimage.OCI, testimage.Config{Command: []string{"/pause"}}, layer)
}
