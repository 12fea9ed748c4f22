// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/tracing"
)

// failurePrefix begins the gRPC message of a failed mount; monitoring looks for it.
const failurePrefix = "failed to mount objects, error: "

// Version implements the Version call.
func (s *Server) Version(context.Context, *v1alpha1.VersionRequest) (*v1alpha1.VersionResponse, error) {
	return &v1alpha1.VersionResponse{
		Version:        "v1alpha1",
		RuntimeName:    "secrets-store-csi-driver-provider-azure",
		RuntimeVersion: s.config.Version,
	}, nil
}

// Mount implements the Mount call: it answers with the files and writes none.
func (s *Server) Mount(ctx context.Context, request *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
	started := time.Now()
	asked, err := parseRequest(request)
	if err != nil {
		s.config.Logger.WarnContext(ctx, "Mount refused", "reason", reason.Of(err), "error", err)
		return nil, asStatus(err, "")
	}
	c, err := parseClass(asked.attributes, asked.secrets, s.clouds, s.lists)
	tracing.Annotate(ctx, tracing.Namespace.String(c.podNamespace), tracing.Pod.String(c.podName), tracing.Class.String(c.name), tracing.Vault.String(c.vault))
	var answer *v1alpha1.MountResponse
	if err == nil {
		answer, err = s.fetch(ctx, c, asked)
	}
	fields := make([]any, 0, 24) // enough for all of them
	fields = append(fields,
		"pod_namespace", c.podNamespace, "pod", c.podName, "class", c.name, "vault", c.vault, "identity", c.identity.mode.String(), "client_id", c.identity.clientID,
		"objects", len(c.objects), "duration", time.Since(started).Round(time.Millisecond))
	if err != nil {
		s.config.Logger.WarnContext(ctx, "Mount failed", append(fields, failureFields(err)...)...)
		return nil, asStatus(err, failurePrefix)
	}
	fields = append(append(fields, c.logIgnored()...), "files", len(answer.GetFiles()), "missing", len(answer.GetNotices()))
	s.config.Logger.InfoContext(ctx, "Mount answered", fields...)
	return answer, nil
}

// fetch reads the class's objects with the pod's identity.
func (s *Server) fetch(ctx context.Context, c class, asked mountRequest) (*v1alpha1.MountResponse, error) {
	tokens, err := s.session(c, asked)
	if err != nil {
		return nil, err
	}
	// kubelet shows an error only when the call returns, and a person should see it soon; kubelet itself tries again.
	ctx, cancel := context.WithTimeout(ctx, s.config.Budget)
	defer cancel()
	ctx = notBefore(ctx, asked.attributes[fetchedAfterKey])
	planned, err := s.planOf(ctx, tokens, c)
	if err != nil {
		return nil, err
	}
	var fetched []keyvault.Object
	if items := planned.items(); len(items) > 0 {
		if fetched, err = s.config.Objects.Fetch(ctx, keyvault.Request{Tokens: tokens, Items: items}); err != nil {
			return nil, err
		}
	}
	r := renderer{
		orderChain: s.config.ConstructPEMChain, separate: s.config.SeparateFiles, permission: asked.permission, class: c, log: s.config.Logger,
	}
	return r.answer(ctx, planned, fetched)
}

// notBefore keeps what was read before the given time from being used. The time is the driver's, on the same node; one that lies ahead or
// cannot be read would only cost calls and is passed over.
func notBefore(ctx context.Context, text string) context.Context {
	moment, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || moment.After(time.Now()) {
		return ctx
	}
	return keyvault.WithNotBefore(ctx, moment)
}

// mountRequest is a MountRequest with its JSON read.
type mountRequest struct {
	attributes, secrets map[string]string
	permission          fs.FileMode
}

// parseRequest reads the request's JSON. The errors of encoding/json are reduced to their kind: attributes and secrets hold
// credentials, which an error could quote.
func parseRequest(request *v1alpha1.MountRequest) (mountRequest, error) {
	const next = "the driver sends it; see whether driver and provider are of versions that belong together"
	var asked mountRequest
	if err := json.Unmarshal([]byte(request.GetAttributes()), &asked.attributes); err != nil {
		return asked, reason.New(reason.RequestInvalid, next, "failed to unmarshal attributes, error: %s", kindOf(err))
	}
	if err := json.Unmarshal([]byte(request.GetSecrets()), &asked.secrets); err != nil {
		return asked, reason.New(reason.RequestInvalid, next, "failed to unmarshal secrets, error: %s", kindOf(err))
	}
	var permission uint32
	if err := json.Unmarshal([]byte(request.GetPermission()), &permission); err != nil {
		return asked, reason.New(reason.RequestInvalid, next, "failed to unmarshal file permission, error: %s", kindOf(err))
	}
	asked.permission = fs.FileMode(permission) & fs.ModePerm
	return asked, nil
}

func kindOf(err error) string {
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return "not of the expected type"
	}
	return "not valid JSON"
}

// asStatus makes the gRPC error of err.
func asStatus(err error, prefix string) error {
	if told, ok := errors.AsType[*reason.Error](err); ok {
		return told.Status(prefix).Err()
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Err()
	}
	return status.Error(codes.Unknown, prefix+reason.OneLine(err.Error()))
}

// failureFields are what a log line says about err; Microsoft's support asks for the ids.
func failureFields(err error) []any {
	fields := []any{"reason", reason.Of(err), "error", err}
	if refusal, ok := errors.AsType[*entra.Refusal](err); ok {
		fields = append(fields, slog.Group("entra", "trace_id", refusal.TraceID, "correlation_id", refusal.CorrelationID))
	}
	return fields
}
