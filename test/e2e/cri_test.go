//go:build e2e && linux

package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"google.golang.org/protobuf/encoding/protowire"
)

// cri is the little of Kubernetes' runtime.v1.ImageService that a pull takes:
// gRPC is HTTP/2 with a five-byte prefix to each message.
type cri struct{ client *http.Client }

func dialCRI(socket string) *cri {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &cri{&http.Client{Transport: &http.Transport{DialContext: dial, Protocols: protocols}}}
}

func (c *cri) close() { c.client.CloseIdleConnections() }

// pullImage returns the image's ID. PullImageRequest{1: ImageSpec{1: image}},
// PullImageResponse{1: image_ref}.
func (c *cri) pullImage(ctx context.Context, image string) (string, error) {
	spec := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), image)
	request := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), spec)
	response, err := c.call(ctx, "PullImage", request)
	if err != nil {
		return "", fmt.Errorf("CRI PullImage %s: %w", image, err)
	}
	number, kind, n := protowire.ConsumeTag(response)
	if n < 0 || number != 1 || kind != protowire.BytesType {
		return "", fmt.Errorf("CRI PullImage %s: unexpected answer %x", image, response)
	}
	ref, n := protowire.ConsumeString(response[n:])
	return ref, protowire.ParseError(min(n, 0))
}

func (c *cri) call(ctx context.Context, method string, message []byte) ([]byte, error) {
	frame := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://cri/runtime.v1.ImageService/"+method, bytes.NewReader(frame))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	for _, h := range []http.Header{resp.Header, resp.Trailer} {
		if s := h.Get("Grpc-Status"); s != "" && s != "0" {
			return nil, fmt.Errorf("status %s: %s", s, h.Get("Grpc-Message"))
		}
	}
	if len(body) < 5 || int(binary.BigEndian.Uint32(body[1:5])) != len(body)-5 {
		return nil, errors.New("an answer without one whole message")
	}
	return body[5:], nil
}
