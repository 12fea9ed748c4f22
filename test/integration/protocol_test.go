// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
)

// field is one of a message: a string unless it says otherwise.
func field(number int32, name string, change ...func(*descriptorpb.FieldDescriptorProto)) *descriptorpb.FieldDescriptorProto {
	f := &descriptorpb.FieldDescriptorProto{
		Name: proto.String(name), Number: proto.Int32(number), Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
		Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
	}
	for _, c := range change {
		c(f)
	}
	return f
}

func typed(kind descriptorpb.FieldDescriptorProto_Type) func(*descriptorpb.FieldDescriptorProto) {
	return func(f *descriptorpb.FieldDescriptorProto) { f.Type = kind.Enum() }
}

func ofMessage(name string) func(*descriptorpb.FieldDescriptorProto) {
	return func(f *descriptorpb.FieldDescriptorProto) {
		f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String(".v1alpha1."+name)
	}
}

func repeated(f *descriptorpb.FieldDescriptorProto) {
	f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
}

// todaysProtocol is provider/v1alpha1/service.proto of the Secrets Store CSI Driver v1.6.0: its messages and nothing else.
func todaysProtocol(t *testing.T) protoreflect.MessageDescriptors {
	t.Helper()
	message := func(name string, fields ...*descriptorpb.FieldDescriptorProto) *descriptorpb.DescriptorProto {
		return &descriptorpb.DescriptorProto{Name: proto.String(name), Field: fields}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("today/service.proto"), Package: proto.String("v1alpha1"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			message("VersionRequest", field(1, "version")),
			message("VersionResponse", field(1, "version"), field(2, "runtime_name"), field(3, "runtime_version")),
			message("MountRequest", field(1, "attributes"), field(2, "secrets"), field(3, "target_path"), field(4, "permission"),
				field(5, "current_object_version", ofMessage("ObjectVersion"), repeated)),
			message("MountResponse", field(1, "object_version", ofMessage("ObjectVersion"), repeated), field(2, "error", ofMessage("Error")),
				field(3, "files", ofMessage("File"), repeated)),
			message("File", field(1, "path"), field(2, "mode", typed(descriptorpb.FieldDescriptorProto_TYPE_INT32)),
				field(3, "contents", typed(descriptorpb.FieldDescriptorProto_TYPE_BYTES))),
			message("ObjectVersion", field(1, "id"), field(2, "version")),
			message("Error", field(1, "code")),
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages()
}

// made is a message with some of its strings set.
func made(messages protoreflect.MessageDescriptors, name protoreflect.Name, values map[protoreflect.Name]string) *dynamicpb.Message {
	m := dynamicpb.NewMessage(messages.ByName(name))
	for field, value := range values {
		m.Set(m.Descriptor().Fields().ByName(field), protoreflect.ValueOfString(value))
	}
	return m
}

func text(m protoreflect.Message, name protoreflect.Name) string {
	return m.Get(m.Descriptor().Fields().ByName(name)).String()
}

func list(m protoreflect.Message, name protoreflect.Name) []protoreflect.Message {
	var all []protoreflect.Message
	values := m.Get(m.Descriptor().Fields().ByName(name)).List()
	for i := range values.Len() {
		all = append(all, values.Get(i).Message())
	}
	return all
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
		return conn.Invoke(context.Background(), "/v1alpha1.CSIDriverProvider/"+method, request, answer)
	}
	about := made(messages, "VersionResponse", nil)
	if err := call("Version", made(messages, "VersionRequest", map[protoreflect.Name]string{"version": "v1alpha1"}), about); err != nil {
		t.Fatal(err)
	}
	if text(about, "version") != "v1alpha1" || text(about, "runtime_name") == "" || text(about, "runtime_version") == "" {
		t.Fatalf("got %v", about)
	}
	class := w.class("app", "db", "old")
	class["objects"] += "  - |\n    objectName: nil\n    objectType: secret\n    optional: true\n"
	whole := w.request(class)
	for name, current := range map[string]map[protoreflect.Name]string{"empty": nil, "of before": {"id": "secret/db", "version": first}} {
		t.Run(name, func(t *testing.T) {
			request := made(messages, "MountRequest", map[protoreflect.Name]string{
				"attributes": whole.GetAttributes(), "secrets": whole.GetSecrets(), "target_path": "/unused", "permission": "420",
			})
			if current != nil {
				request.Mutable(request.Descriptor().Fields().ByName("current_object_version")).List().
					Append(protoreflect.ValueOfMessage(made(messages, "ObjectVersion", current)))
			}
			answer := made(messages, "MountResponse", nil)
			if err := call("Mount", request, answer); err != nil {
				t.Fatal(err)
			}
			files, versions := list(answer, "files"), list(answer, "object_version")
			if answer.Has(answer.Descriptor().Fields().ByName("error")) || len(files) != 2 || len(versions) != 2 {
				t.Fatalf("%d files, %d versions", len(files), len(versions))
			}
			for i, want := range []struct{ path, content, id string }{{"db", canary + "db", "secret/db"}, {"old", canary + "v2", "secret/old"}} {
				f := files[i]
				content, mode := f.Get(f.Descriptor().Fields().ByName("contents")).Bytes(), f.Get(f.Descriptor().Fields().ByName("mode")).Int()
				if text(f, "path") != want.path || string(content) != want.content || mode != 0o644 {
					t.Errorf("file %d is %s %o", i, text(f, "path"), mode)
				}
				if text(versions[i], "id") != want.id || !versionID.MatchString(text(versions[i], "version")) {
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
