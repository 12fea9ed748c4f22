// SPDX-License-Identifier: Apache-2.0

// Command thirdparty is two providers of the Secrets Store CSI driver's protocol as somebody else would write them: it knows the protocol and
// nothing of Vaultferry. The provider "returns" answers with files; the provider "writes" puts them on the volume by itself, as providers did
// before answers could carry files.
//
// Both mount the files below the directory that the class names with the parameter source.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
)

func main() {
	sockets := flag.String("sockets", "/provider", "directory of the sockets")
	sources := flag.String("sources", "/sources", "directory below which the sources are")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serve(ctx, *sockets, *sources); err != nil {
		fmt.Fprintln(os.Stderr, "thirdparty:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, sockets, sources string) error {
	failed := make(chan error, 2)
	for _, writes := range []bool{false, true} {
		name := map[bool]string{false: "returns", true: "writes"}[writes]
		socket := filepath.Join(sockets, name+".sock")
		if err := os.RemoveAll(socket); err != nil {
			return err
		}
		listener, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
		if err != nil {
			return err
		}
		server := grpc.NewServer()
		v1alpha1.RegisterCSIDriverProviderServer(server, &provider{sources: sources, writes: writes})
		go func() { failed <- server.Serve(listener) }()
		defer server.Stop()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

type provider struct {
	v1alpha1.UnimplementedCSIDriverProviderServer
	sources string
	writes  bool
}

func (*provider) Version(context.Context, *v1alpha1.VersionRequest) (*v1alpha1.VersionResponse, error) {
	return &v1alpha1.VersionResponse{Version: "v1alpha1", RuntimeName: "thirdparty", RuntimeVersion: "1"}, nil
}

// Mount answers with the files of the source, or writes them.
func (p *provider) Mount(ctx context.Context, req *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
	if meta, _ := metadata.FromIncomingContext(ctx); len(meta[":authority"]) != 1 || meta[":authority"][0] != "localhost" {
		return nil, status.Errorf(codes.PermissionDenied, "the authority is %v", meta[":authority"])
	}
	var attributes map[string]string
	if err := json.Unmarshal([]byte(req.GetAttributes()), &attributes); err != nil {
		return nil, err
	}
	var mode int32
	if err := json.Unmarshal([]byte(req.GetPermission()), &mode); err != nil {
		return nil, err
	}
	dir := filepath.Join(p.sources, filepath.Base(attributes["source"]))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("source of pod %s/%s: %w", attributes["csi.storage.k8s.io/pod.namespace"], attributes["csi.storage.k8s.io/pod.name"], err)
	}
	answer := &v1alpha1.MountResponse{}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		answer.ObjectVersion = append(answer.ObjectVersion, &v1alpha1.ObjectVersion{Id: "file/" + entry.Name(), Version: hex.EncodeToString(sum[:4])})
		if !p.writes {
			answer.Files = append(answer.Files, &v1alpha1.File{Path: entry.Name(), Mode: mode, Contents: content})
			continue
		}
		// A reader sees the old file or the new one.
		target := filepath.Join(req.GetTargetPath(), entry.Name())
		if err := os.WriteFile(target+".new", content, os.FileMode(mode)); err != nil {
			return nil, err
		}
		if err := os.Rename(target+".new", target); err != nil {
			return nil, err
		}
	}
	return answer, nil
}
