// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/tracing"
)

const (
	// socketNotice is how long a provider's socket may be missing before the user is told.
	socketNotice = 2 * time.Second
	// answerNotice is how long a provider may take to answer before the user is told: with kubelet's own reaction time it keeps the time
	// to the first word under five seconds.
	answerNotice = 4 * time.Second
	socketPoll   = 100 * time.Millisecond
	// mountAttempts bounds how often one call is sent to a provider that goes away in the middle of it.
	mountAttempts = 3
	// authority is what existing providers expect in HTTP/2's :authority.
	authority    = "localhost"
	socketSuffix = ".sock"
	// maxProviderText bounds what of a provider's error reaches kubelet and the pod status, whose conditions hold 32 KiB (metav1.Condition).
	maxProviderText = 8 << 10
)

// ProvidersConfig says where providers are found.
type ProvidersConfig struct {
	// Dirs are searched in order for <provider>.sock.
	Dirs []string
	// MaxAnswerBytes limits a provider's answer.
	MaxAnswerBytes int
	Log            *slog.Logger
}

// Providers calls providers on their unix sockets. Connections are kept and re-made when a provider restarts.
type Providers struct {
	ProvidersConfig

	mu          sync.Mutex
	connections map[string]*grpc.ClientConn // by socket path
}

// NewProviders returns a Providers. Close it.
func NewProviders(c ProvidersConfig) *Providers {
	return &Providers{
		ProvidersConfig: c,
		connections:     map[string]*grpc.ClientConn{},
	}
}

// Close ends all connections.
func (p *Providers) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var failures []error
	for path, connection := range p.connections {
		failures = append(failures, connection.Close())
		delete(p.connections, path)
	}
	return errors.Join(failures...)
}

// Mount implements [ContentSource]. It waits within ctx's deadline for a provider that is not there yet.
func (p *Providers) Mount(
	ctx context.Context, name string, req *v1alpha1.MountRequest, waiting func(*reason.Error),
) (*v1alpha1.MountResponse, error) {
	if err := classrule.ProviderName(name); err != nil {
		return nil, err
	}
	var once sync.Once
	notify := func(why *reason.Error) { once.Do(func() { waiting(why) }) }
	for attempt := 1; ; attempt++ {
		connection, err := p.ready(ctx, name, notify)
		if err != nil {
			return nil, err
		}
		response, err := p.call(ctx, name, connection, req, notify)
		if err == nil {
			return checkResponse(name, response)
		}
		if attempt == mountAttempts || !interrupted(err) {
			return nil, p.callError(ctx, name, err)
		}
		p.Log.InfoContext(ctx, "Provider went away during a call, trying again", slog.String("provider", name), slog.Int("attempt", attempt))
	}
}

// ready returns a connection to the provider that is up.
func (p *Providers) ready(ctx context.Context, name string, notify func(*reason.Error)) (*grpc.ClientConn, error) {
	start, told := time.Now(), false
	for {
		connection, err := p.connected(ctx, name)
		if connection != nil || err != nil {
			return connection, err
		}
		if !told && time.Since(start) >= socketNotice {
			told = true
			missing := p.missing(name)
			if missing.Reason == reason.ProviderNotFound {
				return nil, missing
			}
			notify(missing)
		}
		select {
		case <-ctx.Done():
			return nil, p.missing(name)
		case <-time.After(socketPoll):
		}
	}
}

// connected returns the connection to the provider's socket if it is up, and has it connect otherwise.
func (p *Providers) connected(ctx context.Context, name string) (*grpc.ClientConn, error) {
	path := p.socket(name)
	if path == "" {
		return nil, nil
	}
	connection, err := p.connection(path)
	if err != nil {
		return nil, reason.New(reason.Unexpected, "", "preparing a connection to provider %q: %w", name, err)
	}
	if connection.GetState() == connectivity.Ready {
		return connection, nil
	}
	connection.Connect()
	ctx, cancel := context.WithTimeout(ctx, socketPoll)
	defer cancel()
	for state := connection.GetState(); state != connectivity.Ready; state = connection.GetState() {
		if state == connectivity.TransientFailure || !connection.WaitForStateChange(ctx, state) {
			return nil, nil
		}
	}
	return connection, nil
}

func (p *Providers) connection(path string) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if connection := p.connections[path]; connection != nil {
		return connection, nil
	}
	connection, err := p.dial(path)
	if err == nil {
		p.connections[path] = connection
	}
	return connection, err
}

func (p *Providers) dial(path string) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix:"+path,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority(authority),
		grpc.WithNoProxy(),
		grpc.WithReadBufferSize(socketBuffer), grpc.WithWriteBufferSize(socketBuffer),
		grpc.WithUnaryInterceptor(tracing.ClientInterceptor()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(p.MaxAnswerBytes)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: socketPoll, Multiplier: 1.5, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: time.Second,
		}))
}

// socket returns the path of the provider's socket, or "".
func (p *Providers) socket(name string) string {
	for _, dir := range p.Dirs {
		path := filepath.Join(dir, name+socketSuffix)
		if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeSocket != 0 {
			return path
		}
	}
	return ""
}

// present returns the names of the providers whose sockets are there.
func (p *Providers) present() []string {
	var names []string
	for _, dir := range p.Dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // A directory that is not there holds no provider.
		}
		for _, entry := range entries {
			if name, ok := strings.CutSuffix(entry.Name(), socketSuffix); ok && entry.Type()&fs.ModeSocket != 0 {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// missing says why there is no connection: a name that is probably mistyped, or a provider that is not up.
func (p *Providers) missing(name string) *reason.Error {
	present := p.present()
	where := strings.Join(p.Dirs, " and ")
	if slices.Contains(present, name) {
		return reason.New(reason.ProviderNotReady, "see the provider's pod on this node; the mount goes on as soon as it answers",
			"provider %q has a socket but does not answer", name)
	}
	if meant := reason.Nearest(name, present); meant != "" {
		return reason.New(reason.ProviderNotFound, "did you mean spec.provider: "+meant+"?",
			"provider not found: provider %q has no socket in %s", name, where)
	}
	running := "none"
	if len(present) > 0 {
		running = strings.Join(present, ", ")
	}
	return reason.New(reason.ProviderNotReady,
		"check spec.provider of the SecretProviderClass and that the provider's pod runs on this node; the mount goes on as soon as it does",
		"provider not found: provider %q has no socket in %s (there now: %s)", name, where, running)
}

// call sends one Mount call.
func (p *Providers) call(
	ctx context.Context, name string, connection *grpc.ClientConn, req *v1alpha1.MountRequest, notify func(*reason.Error),
) (*v1alpha1.MountResponse, error) {
	notice := time.AfterFunc(answerNotice, func() {
		notify(reason.New(reason.ProviderTimeout, "see the provider's log on this node; the mount goes on as soon as it answers",
			"provider %q has not answered for %s", name, answerNotice))
	})
	defer notice.Stop()
	return v1alpha1.NewCSIDriverProviderClient(connection).Mount(ctx, req)
}

// interrupted reports whether the call failed because the provider went away, and not because it answered so.
func interrupted(err error) bool {
	_, answered := reason.From(err)
	return !answered && status.Code(err) == codes.Unavailable
}

func (p *Providers) callError(ctx context.Context, name string, err error) error {
	if known, ok := reason.From(err); ok && eventReason.MatchString(known.Reason.Name) {
		known.Message, known.Next = bounded(known.Message, maxProviderText), bounded(known.Next, maxProviderText)
		return known
	}
	answer, _ := status.FromError(err)
	said := bounded(answer.Message(), maxProviderText)
	switch {
	case ctx.Err() != nil:
		return reason.New(reason.ProviderTimeout, "see the provider's log on this node", "provider %q did not answer in time", name)
	case answer.Code() == codes.ResourceExhausted && strings.Contains(answer.Message(), "received message larger than max"):
		return reason.New(reason.ProviderAnswerTooLarge, "raise the driver's --max-call-recv-msg-size, or mount less",
			"the answer of provider %q exceeds %d bytes", name, p.MaxAnswerBytes)
	case interrupted(err):
		return reason.New(reason.ProviderNotReady, "see the provider's pod on this node", "provider %q went away during the call: %s", name, said)
	}
	return reason.New(reason.Reason{Name: reason.ProviderFailed.Name, Code: answer.Code()}, "", "provider %q: %s", name, said)
}

func checkResponse(name string, response *v1alpha1.MountResponse) (*v1alpha1.MountResponse, error) {
	if code := response.GetError().GetCode(); code != "" {
		return nil, reason.New(reason.ProviderFailed, "see the provider's log on this node",
			"provider %q: mount request failed with provider error code %s", name, bounded(code, maxProviderText))
	}
	// With notices, nothing is an answer: all objects are optional, and none is there.
	if response.GetObjectVersion() == nil && response.GetNotices() == nil {
		return nil, reason.New(reason.ProviderAnswerInvalid, "name at least one object in the SecretProviderClass",
			"provider %q: missing object versions", name)
	}
	return response, nil
}
