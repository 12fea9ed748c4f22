// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
)

// Shape returns a writer that does to the body of an answer what a fault asks
// for. The answer must be written with one call of Write, which is its end.
func Shape(w http.ResponseWriter, f Fault) http.ResponseWriter {
	if f.Truncate == 0 && !f.Garbage && f.Huge == 0 {
		return w
	}
	return &shaper{ResponseWriter: w, fault: f, status: http.StatusOK}
}

type shaper struct {
	http.ResponseWriter
	fault  Fault
	status int
}

// Unwrap is for http.ResponseController.
func (s *shaper) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// WriteHeader waits for the body, whose length goes into the headers.
func (s *shaper) WriteHeader(status int) { s.status = status }

// Write sends what the fault makes of the body.
func (s *shaper) Write(body []byte) (int, error) {
	switch {
	case s.fault.Garbage:
		garbage := []byte("\x1f\x8b\x00<html><p>An error occurred while processing your request.\xff")
		return len(body), s.send(len(garbage), bytes.NewReader(garbage))
	case s.fault.Huge > 0:
		return len(body), s.send(hugeBody(s.fault.Huge))
	}
	if s.fault.Truncate >= len(body) {
		return len(body), s.send(len(body), bytes.NewReader(body))
	}
	// The length that is announced is that of the whole body: the server closes
	// the connection when the handler returns without having sent it.
	return len(body), s.send(len(body), bytes.NewReader(body[:s.fault.Truncate]))
}

func (s *shaper) send(length int, body io.Reader) error {
	s.Header().Set("Content-Length", strconv.Itoa(length))
	s.ResponseWriter.WriteHeader(s.status)
	_, err := io.Copy(s.ResponseWriter, body)
	return err
}

const hugeStart, hugeEnd = `{"value":"`, `"}`

// hugeBody is a JSON object of a number of bytes, and the length that it has:
// an object has a smallest size.
func hugeBody(bytes int) (length int, body io.Reader) {
	filling := max(bytes-len(hugeStart)-len(hugeEnd), 0)
	return filling + len(hugeStart) + len(hugeEnd),
		io.MultiReader(reader(hugeStart), io.LimitReader(letters{}, int64(filling)), reader(hugeEnd))
}

func reader(text string) io.Reader { return bytes.NewReader([]byte(text)) }

// letters reads as the letter x without end.
type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
