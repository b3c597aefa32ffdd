package membercmd

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/distribution/download"
	"github.com/shoal-project/shoal/internal/admin"
	"github.com/shoal-project/shoal/internal/progress"
	"github.com/shoal-project/shoal/internal/pull"
)

// ExplainCommand tells where the bytes of an image or an object came from.
func ExplainCommand(client func(*cobra.Command) (*admin.Client, error)) *cobra.Command {
	asJSON, platforms := false, []string(nil)
	cmd := &cobra.Command{
		Use: "explain IMAGE|DIGEST", Short: "Tell where every byte came from, and why anything fell back",
		Long: `Tell of every object of an image, or of one object by its digest, which source
gave which blocks (of 256 KiB), and what went wrong on the way. The daemon
remembers this of what it has open and of the last few hundred objects.`,
		Example: "  peer explain debian:12\n  peer explain sha256:3f6e…",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := client(cmd)
			if err != nil {
				return err
			}
			text, err := c.Explain(cmd.Context(), args[0], platforms)
			if err != nil {
				return err
			}
			if asJSON {
				_, err := cmd.OutOrStdout().Write(text)
				return err
			}
			return printStories(cmd.OutOrStdout(), text)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringSliceVar(&platforms, "platform", nil, "platforms of an image, or all (default: the daemon's own)")
	return cmd
}

func printStories(w io.Writer, text []byte) error {
	var stories []struct {
		pull.Object
		Story *download.Explanation `json:"story"`
	}
	if err := json.Unmarshal(text, &stories); err != nil {
		return fmt.Errorf("the daemon's answer: %w; are the command and the daemon of one version?", err)
	}
	var b strings.Builder
	for _, s := range stories {
		fmt.Fprintf(&b, "%s %s\n", s.Digest, s.Kind)
		if s.Story == nil {
			fmt.Fprintln(&b, "  not on this node")
			continue
		}
		tell(&b, *s.Story)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func tell(b *strings.Builder, x download.Explanation) {
	seal := "not sealed"
	if x.Sealed {
		seal = "sealed"
	}
	fmt.Fprintf(b, "  %s, %s, %s\n", progress.Bytes(x.Size), x.State, seal)
	if x.Error != "" {
		fmt.Fprintf(b, "  failed: %s\n", x.Error)
	}
	for _, part := range x.Parts {
		from := part.Kind
		if part.Node != "" {
			from += " " + string(part.Node)
		}
		fmt.Fprintf(b, "  %9s from %s, %s\n", progress.Bytes(part.Bytes), from, blocks(part.Blocks))
	}
	for _, note := range x.Notes {
		fmt.Fprintf(b, "  %s\n", note)
	}
}

// maxSpans is how many runs of blocks are written out.
const maxSpans = 8

func blocks(spans []distribution.Span) string {
	total := 0
	var texts []string
	for i, s := range spans {
		total += int(s.N)
		if i < maxSpans {
			texts = append(texts, fmt.Sprintf("%d-%d", s.First, s.End()-1))
		}
	}
	if len(spans) > maxSpans {
		texts = append(texts, "…")
	}
	return fmt.Sprintf("%d blocks: %s", total, strings.Join(texts, " "))
}
