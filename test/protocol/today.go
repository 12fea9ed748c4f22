// SPDX-License-Identifier: Apache-2.0

// Package protocol knows the protocol between driver and providers as it is without what Vaultferry adds, for tests of either side. Its
// messages are dynamic: a field that is not in them is unknown to who uses them, as it is to programs that others have built.
package protocol

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Service is the full name of the gRPC service.
const Service = "v1alpha1.CSIDriverProvider"

// Messages are the protocol's messages.
type Messages struct {
	protoreflect.MessageDescriptors
}

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

// Today returns the messages of provider/v1alpha1/service.proto of the Secrets Store CSI Driver v1.6.0, and nothing else.
func Today() (Messages, error) {
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
		return Messages{}, err
	}
	return Messages{file.Messages()}, nil
}

// New is a message with some of its strings set.
func (m Messages) New(name protoreflect.Name, values map[protoreflect.Name]string) *dynamicpb.Message {
	made := dynamicpb.NewMessage(m.ByName(name))
	for field, value := range values {
		Set(made, field, protoreflect.ValueOfString(value))
	}
	return made
}

// Set sets a field of message.
func Set(message protoreflect.Message, field protoreflect.Name, value protoreflect.Value) {
	message.Set(message.Descriptor().Fields().ByName(field), value)
}

// Append adds an entry to a repeated field of message.
func Append(message protoreflect.Message, field protoreflect.Name, entry protoreflect.Message) {
	message.Mutable(message.Descriptor().Fields().ByName(field)).List().Append(protoreflect.ValueOfMessage(entry))
}

// Text returns a string field of message.
func Text(message protoreflect.Message, field protoreflect.Name) string {
	return message.Get(message.Descriptor().Fields().ByName(field)).String()
}

// List returns the entries of a repeated field of message.
func List(message protoreflect.Message, field protoreflect.Name) []protoreflect.Message {
	var all []protoreflect.Message
	values := message.Get(message.Descriptor().Fields().ByName(field)).List()
	for i := range values.Len() {
		all = append(all, values.Get(i).Message())
	}
	return all
}
