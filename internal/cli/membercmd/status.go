package membercmd

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/internal/admin"
	"github.com/shoal-project/shoal/internal/assembly"
	"github.com/shoal-project/shoal/internal/progress"
)

// StatusCommand shows what a running daemon says of itself. client is asked when
// it runs.
func StatusCommand(client func(*cobra.Command) (*admin.Client, error)) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use: "status", Short: "Show what the running daemon does",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := client(cmd)
			if err != nil {
				return err
			}
			text, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				_, err := cmd.OutOrStdout().Write(text)
				return err
			}
			var s assembly.Status
			if err := json.Unmarshal(text, &s); err != nil {
				return fmt.Errorf("the daemon's answer: %w; are the command and the daemon of one version?", err)
			}
			return printStatus(cmd.OutOrStdout(), s, time.Now())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printStatus(w io.Writer, s assembly.Status, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	row(s.Role, "%s, version %s, up for %s", s.ID, s.Version, now.Sub(s.Started).Round(time.Second))
	row("network", "%s", map[bool]string{true: "members with the network key", false: "none: loopback only"}[s.Network])
	for _, name := range slices.Sorted(maps.Keys(s.Listen)) {
		row(name, "%s", s.Listen[name])
	}
	switch {
	case s.Swarm != nil:
		row("swarm", "%d peers, %d objects under way, origin mode %s", s.Swarm.Peers, s.Swarm.Swarms, s.Swarm.Mode)
	case s.Supernode != nil && s.Supernode.Connected:
		row("supernode", "connected to %s", s.Supernode.ID)
	case s.Supernode != nil && len(s.Supernode.Configured) > 0:
		row("supernode", "none answers: %s", strings.Join(s.Supernode.Configured, ", "))
	default:
		row("supernode", "none configured: working alone")
	}
	row("store", "%s", storeText(s))
	row("received", "origin %s, supernode %s, peers %s", progress.Bytes(s.Received["origin"]), progress.Bytes(s.Received["supernode"]), progress.Bytes(s.Received["peer"]))
	row("sent", "%s", progress.Bytes(s.Sent))
	for _, reason := range slices.Sorted(maps.Keys(s.Fallbacks)) {
		row("fell back", "%d times: %s", s.Fallbacks[reason], reason)
	}
	if s.Quarantined > 0 {
		row("quarantined", "%d nodes, for wrong bytes; the log names them", s.Quarantined)
	}
	return t.Flush()
}

func storeText(s assembly.Status) string {
	text := fmt.Sprintf("%s in %d objects", progress.Bytes(s.Store.Bytes), s.Store.Objects)
	if s.Store.Quota > 0 {
		text += " of " + progress.Bytes(s.Store.Quota)
	}
	if s.Store.Free >= 0 {
		text += fmt.Sprintf(", %s free on the disk", progress.Bytes(s.Store.Free))
	}
	if s.Store.Evicted > 0 {
		text += fmt.Sprintf(", %s evicted", progress.Bytes(s.Store.Evicted))
	}
	return text
}
