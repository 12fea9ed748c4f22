// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/test/protocol"
)

// todaysProtocol is the protocol without what Vaultferry adds.
func todaysProtocol(t *testing.T) protocol.Messages {
	t.Helper()
	messages, err := protocol.Today()
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

// A driver that knows today's protocol and nothing of Vaultferry's, and that never says which versions a volume has, gets all that it
// needs: so does one that does say it.
func TestADriverThatKnowsOnlyTodaysProtocol(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC})
	conn, err := grpc.NewClient("unix:"+w.sockets+"/azure.sock", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("localhost"), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	messages := todaysProtocol(t)
	call := func(method string, request, answer proto.Message) error {
		return conn.Invoke(t.Context(), "/"+protocol.Service+"/"+method, request, answer)
	}
	about := messages.New("VersionResponse", nil)
	if err := call("Version", messages.New("VersionRequest", map[protoreflect.Name]string{"version": "v1alpha1"}), about); err != nil {
		t.Fatal(err)
	}
	if protocol.Text(about, "version") != "v1alpha1" || protocol.Text(about, "runtime_name") == "" || protocol.Text(about, "runtime_version") == "" {
		t.Fatalf("got %v", about)
	}
	class := w.class("app", "db", "old")
	class["objects"] += "  - |\n    objectName: nil\n    objectType: secret\n    optional: true\n"
	whole := w.request(class)
	for name, current := range map[string]map[protoreflect.Name]string{"empty": nil, "of before": {"id": "secret/db", "version": first}} {
		t.Run(name, func(t *testing.T) {
			request := messages.New("MountRequest", map[protoreflect.Name]string{
				"attributes": whole.GetAttributes(), "secrets": whole.GetSecrets(), "target_path": "/unused", "permission": "420",
			})
			if current != nil {
				protocol.Append(request, "current_object_version", messages.New("ObjectVersion", current))
			}
			answer := messages.New("MountResponse", nil)
			if err := call("Mount", request, answer); err != nil {
				t.Fatal(err)
			}
			files, versions := protocol.List(answer, "files"), protocol.List(answer, "object_version")
			if answer.Has(answer.Descriptor().Fields().ByName("error")) || len(files) != 2 || len(versions) != 2 {
				t.Fatalf("%d files, %d versions", len(files), len(versions))
			}
			for i, want := range []struct{ path, content, id string }{{"db", canary + "db", "secret/db"}, {"old", canary + "v2", "secret/old"}} {
				f := files[i]
				content, mode := f.Get(f.Descriptor().Fields().ByName("contents")).Bytes(), f.Get(f.Descriptor().Fields().ByName("mode")).Int()
				if protocol.Text(f, "path") != want.path || string(content) != want.content || mode != 0o644 {
					t.Errorf("file %d is %s %o", i, protocol.Text(f, "path"), mode)
				}
				if protocol.Text(versions[i], "id") != want.id || !versionID.MatchString(protocol.Text(versions[i], "version")) {
					t.Errorf("version %d is %v", i, versions[i])
				}
			}
		})
	}
}

// What Vaultferry adds to the protocol lies in numbers that today's does not use, and changes none of today's fields.
func TestTheProtocolOnlyGrew(t *testing.T) {
	ours, theirs := v1alpha1.File_service_proto.Messages(), todaysProtocol(t)
	for i := range theirs.Len() {
		before := theirs.Get(i)
		now := ours.ByName(before.Name())
		if now == nil {
			t.Errorf("%s is gone", before.Name())
			continue
		}
		for j := range before.Fields().Len() {
			f := before.Fields().Get(j)
			g := now.Fields().ByNumber(f.Number())
			if g == nil || g.Name() != f.Name() || g.Kind() != f.Kind() || g.Cardinality() != f.Cardinality() {
				t.Errorf("%s.%s is now %v", before.Name(), f.Name(), g)
			}
		}
		for j := range now.Fields().Len() {
			if f := now.Fields().Get(j); before.Fields().ByNumber(f.Number()) == nil && f.Number() < 100 {
				t.Errorf("%s.%s takes number %d, which the original may use", now.Name(), f.Name(), f.Number())
			}
		}
	}
}
