//go:build linux

package snapshotter

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What containerd tells apart. Its clients branch on the codes.
var (
	errNotFound     = errors.New("not found")
	errExists       = errors.New("already exists")
	errInvalid      = errors.New("invalid argument")
	errPrecondition = errors.New("failed precondition")
	errUnavailable  = errors.New("unavailable")
)

// rpcCodes are tried in order.
var rpcCodes = []struct {
	err  error
	code codes.Code
}{
	{errNotFound, codes.NotFound},
	{errExists, codes.AlreadyExists},
	{errInvalid, codes.InvalidArgument},
	{errPrecondition, codes.FailedPrecondition},
	{context.Canceled, codes.Canceled},
	{context.DeadlineExceeded, codes.DeadlineExceeded},
	{errUnavailable, codes.Unavailable},
}

func toRPC(err error) error {
	if err == nil {
		return nil
	}
	for _, c := range rpcCodes {
		if errors.Is(err, c.err) {
			return status.Error(c.code, err.Error())
		}
	}
	return status.Error(codes.Unknown, err.Error())
}
