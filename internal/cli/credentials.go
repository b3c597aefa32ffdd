package cli

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"
)

// Credentials are the flags that say as whom a registry is asked.
type Credentials struct {
	username      string
	passwordStdin bool
}

// Add adds the flags to a command.
func (c *Credentials) Add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.username, "username", "", "user name for the registry (default: from docker's config.json)")
	cmd.Flags().BoolVar(&c.passwordStdin, "password-stdin", false, "read the password from standard input")
}

// Read reads the password, if there is one, and gives the function that knows
// the header for an image: from the command line, or from docker's or podman's
// configuration, or none.
func (c *Credentials) Read(cmd *cobra.Command) (func(image string) (string, error), error) {
	given, err := c.given(cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	if given == "" {
		return known, nil
	}
	return func(string) (string, error) { return given, nil }, nil
}

// given is the header for credentials on the command line.
func (c *Credentials) given(stdin io.Reader) (string, error) {
	if (c.username != "") != c.passwordStdin {
		return "", usageError{errors.New("--username and --password-stdin belong together; give both or neither")}
	}
	if c.username == "" {
		return "", nil
	}
	password, err := io.ReadAll(io.LimitReader(stdin, 16<<10))
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	return basic(c.username, strings.TrimRight(string(password), "\r\n")), nil
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
