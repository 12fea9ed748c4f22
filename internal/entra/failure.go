// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// Failure says why a request got no answer.
type Failure struct {
	// Text completes a sentence whose subject is the host: "does not resolve", "refused the connection".
	Text string
	// Next is the next step, where the cause suggests one.
	Next string
	// NoSuchHost reports that the host's name does not exist, as opposed to a host that does not answer.
	NoSuchHost bool
	// Lasting reports that trying again at once cannot help.
	Lasting bool
}

// Explain says in words of its own why err kept a request from being answered. It never quotes what the other side sent, except
// a proxy's status line.
func Explain(err error) Failure {
	if errors.Is(err, ErrAnswerTooLarge) {
		return Failure{Text: "answered with more than any real answer has", Next: "see what answers under that name, a proxy perhaps", Lasting: true}
	}
	if proxy, ok := errors.AsType[*ProxyError](err); ok {
		return Failure{
			Text:       "cannot be reached: " + proxy.Error(),
			Next:       "see why the proxy of HTTPS_PROXY refuses",
			NoSuchHost: strings.Contains(strings.ToLower(proxy.Phrase), "no such host"),
			Lasting:    true,
		}
	}
	op, isOp := errors.AsType[*net.OpError](err)
	if isOp && op.Op == "proxyconnect" {
		return Failure{
			Text: "cannot be reached: the proxy of HTTPS_PROXY " + explainNetwork(op.Err).Text,
			Next: "check HTTPS_PROXY and NO_PROXY of the provider, and that the proxy runs",
		}
	}
	if untrusted(err) {
		return Failure{
			Text:    "shows a certificate that is not trusted (" + certificateCause(err) + ")",
			Next:    "if a proxy inspects TLS, give the provider that proxy's CA with SSL_CERT_FILE",
			Lasting: true,
		}
	}
	return explainNetwork(err)
}

// explainNetwork explains failures below HTTP and TLS.
func explainNetwork(err error) Failure {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return Failure{Text: "does not resolve", NoSuchHost: true, Lasting: true}
		}
		return Failure{Text: "cannot be looked up: the DNS server did not answer", Next: "check the cluster's DNS"}
	}
	network := "check the node's network and firewall"
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), isNet && timeout.Timeout():
		return Failure{Text: "did not answer in time", Next: network}
	case errors.Is(err, syscall.ECONNREFUSED):
		return Failure{Text: "refused the connection", Next: network}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Failure{Text: "closed the connection in the middle of the exchange", Next: network}
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return Failure{Text: "cannot be reached: the node has no route to it", Next: network}
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return Failure{Text: "cannot be reached: " + errno.Error(), Next: network}
	}
	return Failure{Text: fmt.Sprintf("broke off the exchange (%T)", innermost(err)), Next: network}
}

// untrusted reports whether err is about the server's certificate.
func untrusted(err error) bool {
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, hostname := errors.AsType[x509.HostnameError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	return verification || authority || hostname || invalid
}

// certificateCause is the shortest form of what is wrong with a certificate.
func certificateCause(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "signed by unknown authority"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "made for another name"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "expired or not yet valid; compare the node's clock"
	}
	return "it does not verify"
}

// innermost follows single causes to the end.
func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// clip makes a text that came from elsewhere fit for a line that people read.
func clip(text string) string {
	const longest = 400
	runes := []rune(reason.OneLine(strings.ToValidUTF8(text, "?")))
	for i, r := range runes {
		if r < ' ' || r == 0x7f {
			runes[i] = '?'
		}
	}
	if len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return string(runes)
}
