//go:build linux

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/fuse/snapshotter"
	"github.com/shoal-project/shoal/internal/lazyfs"
	"github.com/shoal-project/shoal/internal/progress"
)

func listCommand(client connect) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the images that are mounted, or held for containers",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := client(cmd)
			if err != nil {
				return err
			}
			s, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "IMAGE\tSTATE\tHERE\tMODE\tDIRECTORY")
			for _, i := range s.Images {
				for _, m := range i.Mounts {
					fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", m.Reference, i.State, here(i), mode(m), m.Target)
				}
				if len(i.Users) > 0 {
					fmt.Fprintf(t, "%s\t%s\t%s\theld%s, %s\t-\n", i.Reference, i.State, here(i), layerText(i), view(i))
				}
			}
			return t.Flush()
		},
	}
}

func mode(m lazyfs.Mount) string {
	text := "ro"
	if m.Writable() {
		text = "rw"
	}
	if m.Native {
		text += ", native"
	} else {
		text += ", lazy"
	}
	if !m.Owners.None() {
		text += ", ids " + m.Owners.String()
	}
	return text
}

// view is what a container that starts now stands on.
func view(i lazyfs.ImageStatus) string {
	if i.Native {
		return "native"
	}
	return "lazy"
}

// layerText names the one layer that is shown, if it is not all of the image.
func layerText(i lazyfs.ImageStatus) string {
	if i.Layer == nil {
		return ""
	}
	return " layer " + i.Layer.Hex()[:12]
}

func here(i lazyfs.ImageStatus) string {
	if i.State == lazyfs.StateWaiting {
		return "-"
	}
	return progress.Bytes(i.Present) + " of " + progress.Bytes(i.Bytes)
}

func statusCommand(client connect) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use: "status [IMAGE]", Short: "Show what is here of each image, from where, and what is waited for",
		Long: `Show of each mounted image, or of one (by reference, digest or directory): whether
all of it is here or it is lazy, how much is here and from where it came, which
reads wait for what, and how many bytes were fetched against how many were read.`,
		Example: "  lazyfs status\n  lazyfs status debian:12\n  lazyfs status --json /mnt",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := client(cmd)
			if err != nil {
				return err
			}
			s, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			var shown any = s
			if len(args) == 1 {
				if s.Images, err = choose(s.Images, args[0]); err != nil {
					return err
				}
				shown = s.Images
			}
			if asJSON {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(shown)
			}
			return printStatus(cmd.OutOrStdout(), s, len(args) == 0, time.Now())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// choose picks the images that are meant.
func choose(all []lazyfs.ImageStatus, what string) (chosen []lazyfs.ImageStatus, err error) {
	target, err := filepath.Abs(what)
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		if i.Is(what) || i.Is(target) {
			chosen = append(chosen, i)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no image %s is mounted or held under that name; `lazyfs ls` lists what is", what)
	}
	return chosen, nil
}

func printStatus(w io.Writer, s lazyfs.Status, whole bool, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if whole {
		fmt.Fprintf(t, "lazyfs\tversion %s, up for %s\n", s.Version, now.Sub(s.Started).Round(time.Second))
		peer := "answers at " + s.Peer.Socket
		if !s.Peer.Answers {
			peer = "away, only what is on the disk is served: " + s.Peer.Error
		}
		fmt.Fprintf(t, "peer\t%s\n", peer)
		fmt.Fprintf(t, "mounts\t%s\n", sessionText(s.Session, now))
		fmt.Fprintf(t, "images\t%d\n", len(s.Images))
		printLayers(t, s.Layers)
	}
	for _, i := range s.Images {
		if whole {
			fmt.Fprintln(t)
		}
		printImage(t, i, now)
	}
	return t.Flush()
}

// printLayers tells of containerd's snapshots: why a layer is not lazy above all.
func printLayers(t io.Writer, layers []snapshotter.Layer) {
	if len(layers) == 0 {
		return
	}
	lazy := 0
	for _, l := range layers {
		if l.Lazy {
			lazy++
		}
	}
	fmt.Fprintf(t, "layers\t%d in containerd, %d of them lazy\n", len(layers), lazy)
	for _, l := range layers {
		if !l.Lazy {
			fmt.Fprintf(t, "  not lazy\t%s of %s: %s\n", l.Chain, cmp.Or(l.Image, "an image"), l.Reason)
		}
	}
}

// sessionText tells since when the file system is mounted, and whether it outlives
// the daemon.
func sessionText(s lazyfs.SessionStatus, now time.Time) string {
	text := fmt.Sprintf("for %s", now.Sub(s.Mounted).Round(time.Second))
	if s.Resumes > 0 {
		text += fmt.Sprintf(", taken over %d times, last after %s", s.Resumes, s.Pause.Round(time.Millisecond))
	}
	if s.Resumable {
		return text + "; they outlive the daemon"
	}
	return text + "; they end with the daemon: " + s.Why
}

func printImage(t io.Writer, i lazyfs.ImageStatus, now time.Time) {
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	fmt.Fprintf(t, "%s  %s\n", i.Reference, i.Platform) // a name is long: no column of it
	row("  manifest", "%s", i.Manifest)
	if i.Layer != nil {
		row("  layer", "%s", i.Layer)
	}
	row("  state", "%s", stateText(i))
	if i.State != lazyfs.StateWaiting {
		row("  from", "%s", sourcesText(i.Sources))
		row("  fetched", "%s while mounted%s", progress.Bytes(i.Fetched), reasonsText(i.Became))
		row("  read", "%s in %d reads of %d opened files, %d failed", progress.Bytes(i.Read), i.Reads, i.Opens, i.Errors)
	}
	if i.NoRoom != "" {
		row("  not filled", "%s", i.NoRoom)
	}
	for _, w := range i.Waits {
		text := fmt.Sprintf("%s at %d of %s, for %s", progress.Bytes(w.Length), w.Offset, w.Object, now.Sub(w.Since).Round(time.Millisecond))
		if w.Reason != "" {
			text += ": " + w.Reason
		}
		row("  waiting", "%s", text)
	}
	for _, m := range i.Mounts {
		row("  mounted", "%s (%s)", m.Target, mode(m))
	}
	if n := len(i.Users); n > 0 {
		row("  held", "by %d snapshots or layers; what starts now is %s", n, view(i))
	}
}

func stateText(i lazyfs.ImageStatus) string {
	if i.State == lazyfs.StateWaiting {
		return "waiting for the peer since the start of the daemon"
	}
	text := fmt.Sprintf("%s: %s, %d of %d objects", i.State, here(i), i.Complete, i.Objects)
	if !i.Pinned {
		text += ", not pinned in the peer's store yet"
	}
	return text
}

// sourcesText is where bytes came from, in the order of distance.
func sourcesText(bySource map[string]int64) string {
	texts := bytesBy(bySource, [][2]string{{"derived", "derived here"}, {"origin", "origin"}, {"supernode", "supernode"}, {"peer", "peers"}})
	if texts == "" {
		return "nothing since the peer's start"
	}
	return texts
}

func reasonsText(became map[string]int64) string {
	texts := bytesBy(became, [][2]string{{"demand", "reads waited for"}, {"ahead", "ahead of reads"}, {"fill", "in the background"}, {"store", "here before"}})
	if texts == "" {
		return ""
	}
	return " (" + texts + ")"
}

// bytesBy lists what there is some of, in the order of the names: each is a key
// and what to call it.
func bytesBy(by map[string]int64, names [][2]string) string {
	var texts []string
	for _, n := range names {
		if bytes := by[n[0]]; bytes > 0 {
			texts = append(texts, n[1]+" "+progress.Bytes(bytes))
		}
	}
	return strings.Join(texts, ", ")
}
