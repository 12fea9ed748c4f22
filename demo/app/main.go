// SPDX-License-Identifier: Apache-2.0

// Command app stands in for a workload in the demo and the end-to-end tests: it knows nothing of Vaultferry. Run without a name of one of
// its tools it waits to be stopped; as ls, cat or env it does what they do, since its image holds nothing else. With the arguments serve-tls
// DIR it is a web server on port 8443 with the certificate in DIR, as an ingress controller is.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	os.Exit(run(os.Args, os.Environ(), os.Stdout, os.Stderr))
}

func run(args, environ []string, stdout, stderr io.Writer) int {
	var err error
	switch filepath.Base(args[0]) {
	case "ls":
		err = list(args[1:], stdout)
	case "cat":
		err = cat(args[1:], stdout)
	case "env":
		slices.Sort(environ)
		fmt.Fprintln(stdout, strings.Join(environ, "\n"))
	default:
		if len(args) == 3 && args[1] == "serve-tls" {
			err = serveTLS(args[2])
			break
		}
		wait()
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", filepath.Base(args[0]), err)
		return 1
	}
	return 0
}

// serveTLS serves with dir/tls.crt and dir/tls.key, which it reads anew for each connection: a renewed certificate needs no restart.
func serveTLS(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server := &http.Server{
		Addr: ":8443", ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") }),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
			return &pair, err
		}},
	}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.ListenAndServeTLS("", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func wait() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	<-ctx.Done()
}

// list prints the names in each directory; with -l also mode and group.
func list(args []string, w io.Writer) error {
	long := len(args) > 0 && args[0] == "-l"
	if long {
		args = args[1:]
	}
	if len(args) == 0 {
		args = []string{"."}
	}
	var failures []error
	for _, dir := range args {
		entries, err := os.ReadDir(dir)
		failures = append(failures, err)
		for _, entry := range entries {
			switch {
			case strings.HasPrefix(entry.Name(), "."):
			case long:
				failures = append(failures, describe(w, filepath.Join(dir, entry.Name())))
			default:
				fmt.Fprintln(w, entry.Name())
			}
		}
	}
	return errors.Join(failures...)
}

func describe(w io.Writer, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	group := uint32(0)
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		group = stat.Gid
	}
	_, err = fmt.Fprintf(w, "%v %d %d %s\n", info.Mode(), group, info.Size(), filepath.Base(path))
	return err
}

func cat(args []string, w io.Writer) error {
	for _, path := range args {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if _, err := w.Write(content); err != nil {
			return err
		}
	}
	return nil
}
