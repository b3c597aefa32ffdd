package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/shoal-project/shoal/internal/progress"
)

// row is what one node received.
type row struct {
	name                     string
	took                     time.Duration // 0 for the supernode
	origin, supernode, peers int64
}

// result is the outcome of one pull on all peers.
type result struct {
	image  int64 // bytes of its blobs
	layers int
	rows   []row
	origin int64         // bytes of blobs that the registry sent
	cpu    time.Duration // of all daemons together
}

// excess is how many times the registry sent the image.
func (r *result) excess() float64 { return float64(r.origin) / float64(r.image) }

func (r *result) wrong() bool { return r.origin != r.image }

// print writes the table.
func (r *result) print(out io.Writer) {
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\ttime\tfrom origin\tfrom supernode\tfrom peers\t")
	for _, row := range r.rows {
		took := "-"
		if row.took > 0 {
			took = fmt.Sprintf("%.2f s", row.took.Seconds())
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t\n", row.name, took, progress.Bytes(row.origin), progress.Bytes(row.supernode), progress.Bytes(row.peers))
	}
	_ = t.Flush() // as any other line
	delivered := float64(r.image) * float64(len(r.rows)-1)
	fmt.Fprintf(out, "\nimage        %s in %d objects, every digest right on every peer\n", progress.Bytes(r.image), r.layers)
	fmt.Fprintf(out, "origin sent  %s, %.2f × the image\n", progress.Bytes(r.origin), r.excess())
	fmt.Fprintf(out, "CPU          %.2f s in all daemons, %.2f s per GiB delivered\n", r.cpu.Seconds(), r.cpu.Seconds()/(delivered/(1<<30)))
}

// received adds what each node says that it received.
func (c *cluster) received(ctx context.Context, r *result) error {
	r.rows = append(r.rows, row{name: c.supernode.name})
	for i, n := range append(append([]*node(nil), c.peers...), c.supernode) {
		s, err := n.status(ctx)
		if err != nil {
			return err
		}
		r.rows[i].origin, r.rows[i].supernode, r.rows[i].peers = s.Received["origin"], s.Received["supernode"], s.Received["peer"]
	}
	return nil
}

// cpu is the CPU time that all daemons used so far, by their own metrics.
func (c *cluster) cpu(ctx context.Context) (time.Duration, error) {
	var total float64
	for _, n := range append(append([]*node(nil), c.peers...), c.supernode) {
		s, err := n.status(ctx)
		if err != nil {
			return 0, err
		}
		seconds, err := metric(ctx, "http://"+s.Listen["admin"]+"/metrics", "process_cpu_seconds_total")
		if err != nil {
			return 0, err
		}
		total += seconds
	}
	return time.Duration(total * float64(time.Second)), nil
}

func metric(ctx context.Context, url, name string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return 0, err
	}
	for _, m := range families[name].GetMetric() {
		return m.GetCounter().GetValue(), nil
	}
	return 0, fmt.Errorf("%s has no %s", url, name)
}

// invite says what to try while the cluster is up.
func (c *cluster) invite(out io.Writer, o *origin) {
	peer := filepath.Join(c.bin, "peer")
	socket := fmt.Sprintf("--socket '%s'", c.peers[0].socket)
	fmt.Fprintf(out, "\nIt stays up until Ctrl-C. To try:\n\n")
	for _, line := range []string{
		peer + " status " + socket,
		peer + " explain " + socket + " " + o.image,
		peer + " pull " + socket + " " + o.image,
		filepath.Join(c.bin, "supernode") + fmt.Sprintf(" status --socket '%s'", c.supernode.socket),
	} {
		fmt.Fprintln(out, "  "+line)
	}
	s, err := c.peers[0].status(context.Background())
	if err != nil {
		return // it died meanwhile; the lines above tell more
	}
	registry := strings.Replace(s.Listen["registry"], "127.0.0.1", "localhost", 1)
	fmt.Fprintf(out, "  curl http://%s/metrics\n  docker pull %s/%s/go:latest\n", s.Listen["admin"], registry, inPath(o.host))
}
