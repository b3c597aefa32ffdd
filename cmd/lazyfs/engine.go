//go:build linux

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/internal/cli"
	"github.com/shoal-project/shoal/internal/config"
	"github.com/shoal-project/shoal/internal/containerd"
	"github.com/shoal-project/shoal/internal/containerd/transfer"
	"github.com/shoal-project/shoal/internal/nodeapi"
	"github.com/shoal-project/shoal/internal/progress"
)

// engineFlags are those of the commands that work on a containerd.
type engineFlags struct {
	address, namespace string
	credentials        cli.Credentials
	quiet, json        bool
}

// add adds the flags, with the defaults of containerd's own commands.
func (f *engineFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.address, "address", "a", cmp.Or(os.Getenv("CONTAINERD_ADDRESS"), "/run/containerd/containerd.sock"), "containerd's socket ($CONTAINERD_ADDRESS)")
	flags.StringVarP(&f.namespace, "namespace", "n", cmp.Or(os.Getenv("CONTAINERD_NAMESPACE"), "default"), "containerd's namespace ($CONTAINERD_NAMESPACE); kubelets use k8s.io")
	f.credentials.Add(cmd)
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print only the digest of the image")
	flags.BoolVar(&f.json, "json", false, "print every event as a line of JSON")
	cmd.MarkFlagsMutuallyExclusive("quiet", "json")
}

// connect gives a mover between the node's peer and the containerd, which may be
// used until close.
func (f *engineFlags) connect(cfg config.Lazyfs) (m *transfer.Mover, close func(), err error) {
	engine, err := containerd.New(f.address, f.namespace)
	if err != nil {
		return nil, nil, err
	}
	peer := nodeapi.New(cfg.Peer.Socket)
	return &transfer.Mover{Engine: engine, Peer: peer}, func() {
		peer.Close()
		_ = engine.Close() // nothing runs any more
	}, nil
}

// show runs a transfer and shows how it goes.
func (f *engineFlags) show(cmd *cobra.Command, run func(ctx context.Context, tell func(transfer.News)) error) error {
	out, errs := cmd.OutOrStdout(), cmd.ErrOrStderr()
	tell := (&account{out: out, quiet: f.quiet, display: f.display(errs)}).tell
	if f.json {
		lines := json.NewEncoder(out)
		tell = func(n transfer.News) { _ = lines.Encode(n) } // the reader is gone
	}
	return run(cmd.Context(), tell)
}

func (f *engineFlags) display(w io.Writer) display {
	_, terminal := cli.Terminal(w)
	return display{w: w, quiet: f.quiet || !terminal}
}

// account says what became of each layer, and counts.
type account struct {
	out     io.Writer
	quiet   bool
	display display

	digest string
	count  map[string]int
	bytes  int64 // fetched
}

func (a *account) tell(n transfer.News) {
	switch {
	case n.Digest != nil:
		a.digest = n.Digest.String()
		a.say("%s is %s\n", n.Image, a.digest)
	case n.Stage != "":
		a.display.line(stages[n.Stage], n.Done, n.Total)
	case n.Layer != nil:
		a.layer(n.Layer)
	case n.Complete && a.quiet:
		_, _ = fmt.Fprintln(a.out, a.digest)
	case n.Complete:
		a.say("%s: %s\n", n.Image, a.summary())
	}
}

func (a *account) say(format string, args ...any) {
	if !a.quiet {
		_, _ = fmt.Fprintf(a.out, format, args...)
	}
}

func (a *account) layer(l *transfer.Layer) {
	if a.count == nil {
		a.count = map[string]int{}
	}
	a.count[l.State]++
	if l.State == transfer.Unpacked || l.State == transfer.Fetched {
		a.bytes += l.Size
	}
	line := fmt.Sprintf("layer %s %9s  %s", l.Digest.Hex()[:12], progress.Bytes(l.Size), l.State)
	if l.Reason != "" {
		line += ", not lazy: " + l.Reason
	}
	a.say("%s\n", line)
}

// summary counts the layers by what became of them.
func (a *account) summary() string {
	text := ""
	for _, state := range []string{transfer.Lazy, transfer.Present, transfer.Unpacked, transfer.Fetched} {
		if n := a.count[state]; n > 0 {
			text += fmt.Sprintf("%d %s, ", n, state)
		}
	}
	if text == "" {
		return "nothing was missing"
	}
	return text + progress.Bytes(a.bytes) + " fetched"
}
