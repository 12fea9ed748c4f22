// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
	"github.com/vaultferry/vaultferry/internal/emulator/ca"
	"github.com/vaultferry/vaultferry/internal/emulator/directory"
	"github.com/vaultferry/vaultferry/internal/emulator/entra"
	"github.com/vaultferry/vaultferry/internal/emulator/eventgrid"
	"github.com/vaultferry/vaultferry/internal/emulator/fault"
	"github.com/vaultferry/vaultferry/internal/emulator/hosts"
	"github.com/vaultferry/vaultferry/internal/emulator/imds"
	"github.com/vaultferry/vaultferry/internal/emulator/keyvault"
	"github.com/vaultferry/vaultferry/internal/emulator/limit"
	"github.com/vaultferry/vaultferry/internal/emulator/management"
	"github.com/vaultferry/vaultferry/internal/emulator/proxy"
	"github.com/vaultferry/vaultferry/internal/emulator/record"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
	"github.com/vaultferry/vaultferry/internal/emulator/token"
)

// shutdownGrace is how long requests in flight may take at the end.
const shutdownGrace = 5 * time.Second

// An Emulator is made by New and does its work in Run.
type Emulator struct {
	cfg       Config
	clock     *clock
	directory *directory.Directory
	ca        *ca.CA
	bindingCA *ca.CA
	keys      *token.Keys
	faults    *fault.Set
	limits    *limit.Set
	counters  *record.Counters
	audit     *record.Log
	entra     *entra.Handler
	keyvault  *keyvault.Handler
	imds      *imds.Handler
	manage    *management.Handler
	events    *eventgrid.Broker
	grid      *eventgrid.Handler
	admin     *admin.Server
	tunnels   *proxy.Listener
	// stop is closed when Run ends.
	stop chan struct{}

	listeners listeners

	mu          sync.Mutex
	stateError  error
	stateLoaded time.Time
	watched     []string
}

// New reads the state file, prepares the CA and opens all listeners. Call Run
// next; it closes them.
func New(cfg Config) (*Emulator, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	e := &Emulator{
		cfg: cfg, clock: &clock{base: cfg.Now}, faults: &fault.Set{}, limits: limit.NewSet(cfg.Now),
		counters: record.NewCounters(), audit: record.NewLog(cfg.Audit),
		tunnels: proxy.NewListener(), stop: make(chan struct{}),
	}
	var err error
	if e.directory, err = directory.New(e.clock.now); err != nil {
		return nil, err
	}
	e.events = eventgrid.NewBroker(e.clock.now)
	if err := e.Reload(); err != nil {
		return nil, err
	}
	// What the first state declares has been there for ever: no event tells of it.
	e.directory.Listen(e.events)
	if e.ca, err = ca.New(ca.Config{CertFile: cfg.CACertFile, KeyFile: cfg.CAKeyFile, Now: cfg.Now}); err != nil {
		return nil, err
	}
	if e.bindingCA, err = ca.New(ca.Config{CertFile: cfg.BindingCACertFile, KeyFile: cfg.BindingCAKeyFile, Now: cfg.Now}); err != nil {
		return nil, fmt.Errorf("the token proxy's CA: %w", err)
	}
	signingKey, err := ca.LoadOrCreateRSA(cfg.SigningKeyFile)
	if err != nil {
		return nil, err
	}
	if e.keys, err = token.NewKeys(signingKey); err != nil {
		return nil, err
	}
	e.handlers()
	return e, e.listeners.open(cfg)
}

func (e *Emulator) handlers() {
	e.entra = entra.New(entra.Config{
		Directory: e.directory, Keys: e.keys, Faults: e.faults, Counters: e.counters, SignIns: e.audit,
		Log: e.cfg.Log, Now: e.clock.now, Stop: e.stop,
		Issuers: entra.IssuerConfig{
			CAFiles: e.cfg.IssuerCAFiles, TokenFile: e.cfg.IssuerTokenFile, Hosts: e.cfg.IssuerHosts,
			Declared: func() []state.Issuer { return e.directory.Settings().Issuers }, Now: e.cfg.Now,
		},
	})
	e.keyvault = keyvault.New(keyvault.Config{
		Directory: e.directory, Keys: e.keys, Faults: e.faults, Counters: e.counters, Audit: e.audit,
		Limits: e.limits, Log: e.cfg.Log, Now: e.clock.now, Stop: e.stop,
	})
	e.imds = imds.New(imds.Config{Directory: e.directory, Entra: e.entra, Faults: e.faults, Counters: e.counters, Stop: e.stop})
	e.manage = management.New(management.Config{
		Directory: e.directory, Keys: e.keys, Faults: e.faults, Counters: e.counters, Now: e.clock.now, Stop: e.stop,
	})
	e.grid = eventgrid.New(eventgrid.Config{
		Broker: e.events, Directory: e.directory, Keys: e.keys, Faults: e.faults, Counters: e.counters, Now: e.clock.now, Stop: e.stop,
	})
	e.admin = admin.New(admin.Config{
		Directory: e.directory, Events: e.events, Faults: e.faults, Counters: e.counters, Audit: e.audit, CA: e.ca.PEM(),
		Limits: e.limits, Clock: e.clock, BindingCA: e.bindingCA.PEM(),
		Reload: e.Reload, RotateKey: e.keys.Rotate, Status: e.status, TokenFile: e.cfg.AdminTokenFile, Stop: e.stop, Log: e.cfg.Log,
	})
}

// CA is the root certificate in PEM.
func (e *Emulator) CA() []byte { return e.ca.PEM() }

// BindingCA is the root certificate of the token proxy in PEM.
func (e *Emulator) BindingCA() []byte { return e.bindingCA.PEM() }

// ServeHTTP answers a request to a name of Entra ID, a vault, an Event Grid
// namespace or Azure Resource Manager.
func (e *Emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch names := e.directory.Settings().Names.Match(r.Host); names.Kind {
	case hosts.Login:
		e.entra.ServeHTTP(w, r)
	case hosts.Vault:
		e.keyvault.Serve(w, r, names)
	case hosts.Management:
		e.manage.ServeHTTP(w, r)
	case hosts.EventGrid:
		e.grid.Serve(w, r, names)
	default:
		http.Error(w, "the Azure emulator does not answer to the name "+r.Host, http.StatusMisdirectedRequest)
	}
}

// certificate is for tls.Config.GetCertificate. A nil certificate makes the
// handshake end with the alert unrecognized_name: a vault or namespace that does
// not exist has no name in DNS, and this is the nearest thing once a client is connected.
func (e *Emulator) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name, _ := hosts.Split(hello.ServerName)
	if e.lookup(name) != proxy.Serve {
		e.cfg.Log.Info("refusing a TLS handshake for a name that is not served", "name", hello.ServerName, "remote", hello.Conn.RemoteAddr().String())
		return nil, nil //nolint:nilnil // what crypto/tls asks for
	}
	return e.ca.Leaf(name)
}

// lookup is the emulator's DNS.
func (e *Emulator) lookup(name string) proxy.Verdict {
	switch names := e.directory.Settings().Names.Match(name); names.Kind {
	case hosts.Login, hosts.Management:
		return proxy.Serve
	case hosts.Vault:
		if _, ok := e.directory.Vault(names.Vault); ok {
			return proxy.Serve
		}
		return proxy.NoSuchHost
	case hosts.EventGrid:
		if e.events.Serves(names.Namespace, names.Location) {
			return proxy.Serve
		}
		return proxy.NoSuchHost
	}
	return proxy.NotOurs
}

// Run serves until ctx ends, then lets requests in flight finish.
func (e *Emulator) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	servers := e.servers()
	failed := make(chan error, len(servers))
	var running sync.WaitGroup
	for _, s := range servers {
		running.Go(func() {
			if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serving %s: %w", s.name, err)
			}
		})
	}
	running.Go(func() { e.watch(ctx) })
	running.Go(func() { e.settle(ctx) })
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	cancel()
	close(e.stop)
	e.tunnels.Close() //nolint:errcheck // always nil
	shutdown(servers)
	running.Wait()
	return err
}

func shutdown(servers []namedServer) {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	var stopping sync.WaitGroup
	for _, s := range servers {
		stopping.Go(func() {
			if s.server.Shutdown(ctx) != nil {
				s.server.Close() //nolint:errcheck // second attempt
			}
		})
	}
	stopping.Wait()
}

func (e *Emulator) status() admin.Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	st := admin.Status{Version: e.cfg.Version, StateFile: e.cfg.StateFile, StateLoaded: e.stateLoaded.UTC()}
	if e.stateError != nil {
		st.StateError = e.stateError.Error()
	}
	return st
}

// listeners are all the open ones; all but tls and admin may be nil.
type listeners struct {
	tls, proxy, admin, health, imds, binding net.Listener
}

func (l *listeners) open(cfg Config) error {
	for _, one := range []struct {
		flag, address string
		listener      *net.Listener
	}{
		{"--listen", cfg.Listen, &l.tls},
		{"--proxy-listen", cfg.ProxyListen, &l.proxy},
		{"--admin-listen", cfg.AdminListen, &l.admin},
		{"--health-listen", cfg.HealthListen, &l.health},
		{"--imds-listen", cfg.IMDSListen, &l.imds},
		{"--identity-binding-listen", cfg.BindingListen, &l.binding},
	} {
		if one.address == "" {
			continue
		}
		var err error
		if *one.listener, err = new(net.ListenConfig).Listen(context.Background(), "tcp", one.address); err != nil {
			l.close()
			return fmt.Errorf("listening on %s %s: %w", one.flag, one.address, err)
		}
	}
	return nil
}

func (l *listeners) close() {
	for _, one := range []net.Listener{l.tls, l.proxy, l.admin, l.health, l.imds, l.binding} {
		if one != nil {
			one.Close()
		}
	}
}

// Addresses are those that the emulator listens on, "" for what is off.
type Addresses struct {
	TLS, Proxy, Admin, Health, IMDS, Binding string
}

// Addresses returns the addresses in use.
func (e *Emulator) Addresses() Addresses {
	address := func(l net.Listener) string {
		if l == nil {
			return ""
		}
		return l.Addr().String()
	}
	l := e.listeners
	return Addresses{
		TLS: address(l.tls), Proxy: address(l.proxy), Admin: address(l.admin), Health: address(l.health),
		IMDS: address(l.imds), Binding: address(l.binding),
	}
}
