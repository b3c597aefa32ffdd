//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-project/shoal/bench/lab"
)

const (
	modeDirect = "direct"
	mib        = 1 << 20
	warmUp     = 8 * mib
)

// workload is the shape of an image.
type workload struct {
	name       string
	layers     int
	layerBytes int64
}

var workloads = []workload{
	{name: "A", layers: 1, layerBytes: 128 * mib},
	{name: "B", layers: 4, layerBytes: 32 * mib},
}

// options are what the command line asks for.
type options struct {
	crowds    []int
	workloads []workload
	modes     []string
	security  string
	runs      int
	peers     int
	rate      lab.Rate
	json      string
	logs      string
	keep      bool
	verbose   bool
}

func parseOptions(args []string) (options, error) {
	o := options{rate: lab.Default().Rate}
	flags := flag.NewFlagSet("swarm", flag.ContinueOnError)
	crowds := flags.String("n", "1,4,8", "numbers of hosts that pull at once")
	names := flags.String("workloads", "A,B", "images: A is 1 layer of 128 MiB, B is 4 of 32 MiB")
	modes := flags.String("modes", "direct,supernode,spread", "direct, and Shoal's origin modes")
	flags.StringVar(&o.security, "security", "tls", "Shoal's chunk transport: tls or clear")
	flags.IntVar(&o.runs, "runs", 3, "runs of each row")
	flags.IntVar(&o.peers, "peers", 8, "peers that are up, also when fewer pull")
	flags.TextVar(&o.rate, "rate", o.rate, "speed of each link each way, such as 200mbit; none: unshaped")
	flags.StringVar(&o.json, "json", "", "also write every run to this `file`")
	flags.StringVar(&o.logs, "logs", "", "save the daemons' logs and metrics under this `directory`")
	flags.BoolVar(&o.keep, "keep", false, "leave the lab and its daemons up after the last run, until interrupted")
	flags.BoolVar(&o.verbose, "v", false, "tell of every run as it ends")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.modes = strings.Split(*modes, ",")
	var errs []error
	for text := range strings.SplitSeq(*crowds, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > o.peers {
			errs = append(errs, fmt.Errorf("-n: %q is not a number from 1 to the %d -peers", text, o.peers))
		}
		o.crowds = append(o.crowds, n)
	}
	for name := range strings.SplitSeq(*names, ",") {
		i := slices.IndexFunc(workloads, func(w workload) bool { return w.name == name })
		if i < 0 {
			errs = append(errs, fmt.Errorf("-workloads: %q is neither A nor B", name))
			continue
		}
		o.workloads = append(o.workloads, workloads[i])
	}
	return o, errors.Join(append(errs, o.validate())...)
}

func (o options) validate() error {
	var errs []error
	for _, mode := range o.modes {
		if !slices.Contains([]string{modeDirect, "supernode", "spread"}, mode) {
			errs = append(errs, fmt.Errorf("-modes: %q is none of direct, supernode, spread", mode))
		}
	}
	if o.security != "tls" && o.security != "clear" {
		errs = append(errs, fmt.Errorf("-security: %q is neither tls nor clear", o.security))
	}
	if o.runs < 1 {
		errs = append(errs, fmt.Errorf("-runs: %d is less than one", o.runs))
	}
	if o.peers < 1 || o.peers > 64 {
		errs = append(errs, fmt.Errorf("-peers: %d is not from 1 to 64", o.peers))
	}
	return errors.Join(errs...)
}
