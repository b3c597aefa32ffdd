//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-project/shoal/bench/lab"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// The workloads.
const (
	workStart    = "start"   // time to the first useful output
	workTree     = "tree"    // all of an image read once
	workFile     = "file"    // one large file read once
	workSmall    = "small"   // 3,000 small files
	workWarm     = "warm"    // what is complete, beside ext4
	workMount    = "mount"   // a mount of many entries
	workMemory   = "memory"  // ten images
	workUpgrade  = "upgrade" // a second version where the first one is
	workPods     = "cri"     // time to a container's first output, as a kubelet orders it
	defaultRates = "0,200,1000"
)

var (
	allWorkloads = []string{workStart, workTree, workFile, workSmall, workWarm, workMount, workMemory, workUpgrade, workPods}
	// shapedWorkloads are those in which the link matters; the others run once,
	// at the first rate.
	shapedWorkloads = []string{workStart, workTree, workFile, workSmall, workPods}
)

// options are what the command line asks for.
type options struct {
	only     []string
	rates    []lab.Rate
	runs     int
	quick    bool
	security string
	dir      string
	images   string
	bin      string
	logs     string
	json     string
	verbose  bool
}

func parseOptions(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("lazy", flag.ContinueOnError)
	only := flags.String("only", strings.Join(allWorkloads, ","), "workloads")
	rates := flags.String("rates", defaultRates, "speeds of each link each way, in Mbit/s; 0: unshaped")
	flags.IntVar(&o.runs, "runs", 5, "runs of each row")
	flags.BoolVar(&o.quick, "quick", false, "small images, to see that it works; the figures say little")
	flags.StringVar(&o.security, "security", "tls", "Shoal's chunk transport: tls or clear")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "`directory` on the disk that the node uses")
	flags.StringVar(&o.images, "images", "", "keep the made images in this `directory`, and take them from there")
	flags.StringVar(&o.bin, "bin", "", "`directory` of peer, supernode and lazyfs; empty: build them")
	flags.StringVar(&o.logs, "logs", "", "save the daemons' logs and metrics under this `directory`")
	flags.StringVar(&o.json, "json", "", "also write every run to this `file`")
	flags.BoolVar(&o.verbose, "v", false, "tell of every run as it ends")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.only = strings.Split(*only, ",")
	var errs []error
	for text := range strings.SplitSeq(*rates, ",") {
		n, err := strconv.ParseUint(text, 10, 20)
		if err != nil {
			errs = append(errs, fmt.Errorf("-rates: %q is not a number of Mbit/s", text))
		}
		o.rates = append(o.rates, lab.Rate(n)*lab.Mbit)
	}
	return o, errors.Join(append(errs, o.validate())...)
}

func (o options) validate() error {
	var errs []error
	for _, name := range o.only {
		if !slices.Contains(allWorkloads, name) {
			errs = append(errs, fmt.Errorf("-only: %q is none of %s", name, strings.Join(allWorkloads, ", ")))
		}
	}
	if o.security != "tls" && o.security != "clear" {
		errs = append(errs, fmt.Errorf("-security: %q is neither tls nor clear", o.security))
	}
	if o.runs < 1 {
		errs = append(errs, fmt.Errorf("-runs: %d is less than one", o.runs))
	}
	return errors.Join(errs...)
}

func (o options) wants(workloads ...string) bool {
	return slices.ContainsFunc(workloads, func(w string) bool { return slices.Contains(o.only, w) })
}

// rateName is a rate as people say it.
func rateName(r lab.Rate) string {
	if r == 0 {
		return "plain"
	}
	return r.String()
}
