package membercmd

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/internal/admin"
	"github.com/shoal-project/shoal/internal/cli"
	"github.com/shoal-project/shoal/internal/progress"
	"github.com/shoal-project/shoal/internal/pull"
)

// PullFlags are those of the commands that bring images in.
type PullFlags struct {
	platforms   []string
	credentials cli.Credentials
	quiet, json bool
}

// Add adds the flags to a command.
func (f *PullFlags) Add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.platforms, "platform", nil, "platforms, such as linux/arm64, or all (default: the daemon's own)")
	f.credentials.Add(cmd)
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print only the digests of what was pulled")
	flags.BoolVar(&f.json, "json", false, "print every event as a line of JSON")
	cmd.MarkFlagsMutuallyExclusive("quiet", "json")
}

// Requests makes a request for each image.
func (f *PullFlags) Requests(cmd *cobra.Command, images []string) ([]pull.Request, error) {
	authorization, err := f.credentials.Read(cmd)
	if err != nil {
		return nil, err
	}
	requests := make([]pull.Request, len(images))
	for i, image := range images {
		requests[i] = pull.Request{Image: image, Platforms: f.platforms}
		if requests[i].Authorization, err = authorization(image); err != nil {
			return nil, err
		}
	}
	return requests, nil
}

// Show pulls the images one after another and shows how it goes.
func (f *PullFlags) Show(cmd *cobra.Command, client *admin.Client, requests []pull.Request) error {
	for _, r := range requests {
		display := f.display(cmd.OutOrStdout())
		err := client.Pull(cmd.Context(), r, display.Tell)
		display.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *PullFlags) display(w io.Writer) progress.Display {
	switch {
	case f.json:
		return progress.Lines(w)
	case f.quiet:
		return progress.Quiet(w)
	}
	width, ok := cli.Terminal(w)
	if !ok {
		return progress.Plain(w, time.Now)
	}
	return progress.Bars(w, width, time.Now)
}
