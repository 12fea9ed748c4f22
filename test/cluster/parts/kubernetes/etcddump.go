// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// etcdDump prints what etcd holds.
type etcdDump struct {
	endpoint, prefix, output string
	tls                      transport.TLSInfo
}

func newEtcdDumpCommand() *cobra.Command {
	var dump etcdDump
	command := &cobra.Command{
		Use:   "etcd-dump",
		Short: "Print every key and value of etcd, byte by byte",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return dump.run(command.Context(), os.Stdout)
		},
	}
	flags := command.Flags()
	flags.StringVar(&dump.endpoint, "endpoint", "https://127.0.0.1:2379", "etcd's client URL")
	flags.StringVar(&dump.prefix, "prefix", "/", "only keys that start so")
	flags.StringVar(&dump.output, "output", "text", "text or json")
	flags.StringVar(&dump.tls.TrustedCAFile, "ca", "", "etcd's CA")
	flags.StringVar(&dump.tls.CertFile, "cert", "", "client certificate")
	flags.StringVar(&dump.tls.KeyFile, "key", "", "key of the client certificate")
	return command
}

// page is how many keys are asked for at once.
const page = 500

func (d etcdDump) run(ctx context.Context, to io.Writer) error {
	if ctx == nil {
		ctx = context.Background()
	}
	config, err := d.tls.ClientConfig()
	if err != nil {
		return fmt.Errorf("reading etcd's certificates: %w", err)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{d.endpoint}, TLS: config, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		return fmt.Errorf("connecting to etcd: %w", err)
	}
	defer client.Close()
	buffered := bufio.NewWriter(to)
	from, end, revision := d.prefix, clientv3.GetPrefixRangeEnd(d.prefix), int64(0)
	for {
		limited, cancel := context.WithTimeout(ctx, 20*time.Second)
		answer, err := client.Get(limited, from, clientv3.WithRange(end), clientv3.WithLimit(page), clientv3.WithRev(revision))
		cancel()
		if err != nil {
			return fmt.Errorf("reading etcd: %w", err)
		}
		revision = answer.Header.Revision // all pages are of one moment
		for _, pair := range answer.Kvs {
			if err := d.write(buffered, pair.Key, pair.Value); err != nil {
				return fmt.Errorf("printing etcd: %w", err)
			}
		}
		if !answer.More {
			return buffered.Flush()
		}
		from = string(answer.Kvs[len(answer.Kvs)-1].Key) + "\x00"
	}
}

func (d etcdDump) write(to io.Writer, key, value []byte) error {
	if d.output != "json" {
		_, err := fmt.Fprintf(to, "%s\n%s\n", key, value)
		return err
	}
	return json.NewEncoder(to).Encode(struct {
		Key   string `json:"key"`
		Value []byte `json:"value"`
	}{string(key), value})
}
