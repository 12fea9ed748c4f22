// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"net"
	"net/http"
	"strconv"
	"time"
)

// Inject lets a fault happen to a request. It returns true if the caller is to
// answer: with the fault's status, or as always if that is 0. It returns false
// when the connection is gone. The channel stop ends all waiting.
func Inject(w http.ResponseWriter, r *http.Request, f Fault, stop <-chan struct{}) bool {
	if f.Latency > 0 {
		timer := time.NewTimer(time.Duration(f.Latency))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		case <-stop:
		}
	}
	switch {
	case f.Blackhole:
		select {
		case <-r.Context().Done():
		case <-stop:
		}
		cut(w)
		return false
	case f.Reset:
		cut(w)
		return false
	}
	if f.RetryAfter > 0 {
		seconds := (time.Duration(f.RetryAfter) + time.Second - 1) / time.Second
		w.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
	}
	return true
}

// cut ends the connection with a TCP reset where the connection is TCP.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	raw := conn
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
		raw = wrapped.NetConn()
	}
	if tcp, ok := raw.(interface{ SetLinger(int) error }); ok {
		tcp.SetLinger(0) //nolint:errcheck // the connection goes away either way
	}
	raw.Close()
}
