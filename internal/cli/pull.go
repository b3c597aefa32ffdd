package cli

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/shoal-project/shoal/internal/admin"
	"github.com/shoal-project/shoal/internal/progress"
	"github.com/shoal-project/shoal/internal/pull"
)

// PullFlags are those of the commands that bring images in.
type PullFlags struct {
	platforms     []string
	username      string
	passwordStdin bool
	quiet, json   bool
}

// Add adds the flags to a command.
func (f *PullFlags) Add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.platforms, "platform", nil, "platforms, such as linux/arm64, or all (default: the daemon's own)")
	flags.StringVar(&f.username, "username", "", "user name for the registry (default: from docker's config.json)")
	flags.BoolVar(&f.passwordStdin, "password-stdin", false, "read the password from standard input")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print only the digests of what was pulled")
	flags.BoolVar(&f.json, "json", false, "print every event as a line of JSON")
	cmd.MarkFlagsMutuallyExclusive("quiet", "json")
}

// Requests makes a request for each image.
func (f *PullFlags) Requests(cmd *cobra.Command, images []string) ([]pull.Request, error) {
	given, err := f.given(cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	requests := make([]pull.Request, len(images))
	for i, image := range images {
		requests[i] = pull.Request{Image: image, Platforms: f.platforms, Authorization: given}
		if given != "" {
			continue
		}
		if requests[i].Authorization, err = known(image); err != nil {
			return nil, err
		}
	}
	return requests, nil
}

// given is the header for credentials on the command line.
func (f *PullFlags) given(stdin io.Reader) (string, error) {
	if (f.username != "") != f.passwordStdin {
		return "", usageError{errors.New("--username and --password-stdin belong together; give both or neither")}
	}
	if f.username == "" {
		return "", nil
	}
	password, err := io.ReadAll(io.LimitReader(stdin, 16<<10))
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	return basic(f.username, strings.TrimRight(string(password), "\r\n")), nil
}

// known is the header for what docker's or podman's configuration says.
func known(image string) (string, error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return "", nil // the daemon says what is wrong with it
	}
	helper, err := authn.DefaultKeychain.Resolve(ref.Context())
	if err != nil {
		return "", fmt.Errorf("looking for credentials for %s: %w; mend docker's config.json, or give --username and --password-stdin", image, err)
	}
	auth, err := helper.Authorization()
	if err != nil {
		return "", fmt.Errorf("looking for credentials for %s: %w; mend docker's config.json, or give --username and --password-stdin", image, err)
	}
	switch {
	case auth.RegistryToken != "":
		return "Bearer " + auth.RegistryToken, nil
	case auth.Username != "":
		return basic(auth.Username, auth.Password), nil
	}
	return "", nil
}

func basic(username, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(username+":"+password))
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
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return progress.Plain(w, time.Now)
	}
	width := func() int {
		columns, _, err := term.GetSize(int(file.Fd()))
		if err != nil || columns <= 0 {
			return 80
		}
		return columns
	}
	return progress.Bars(w, width, time.Now)
}
