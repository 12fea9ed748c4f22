// SPDX-License-Identifier: Apache-2.0

package reload

import (
	"encoding/json"
	"fmt"
	"time"
)

// LastReload is the last reload of a workload, as [LastAnnotation] tells it.
type LastReload struct {
	At time.Time `json:"at"`
	// Action is what was done: rollout, eviction, recreation, run or signal.
	Action string `json:"action"`
	// Sources are what changed, and Why says why that needed a reload.
	Sources []Source `json:"sources"`
	Why     string   `json:"why"`
	// Failed says that the rollout failed and the workload has not been well since: others are not reloaded for the same sources.
	Failed bool `json:"failed,omitempty"`
}

// Pending is a reload that waits, as [PendingAnnotation] tells it. Waits of seconds are not told.
type Pending struct {
	// Since is when the controller saw the change.
	Since   time.Time `json:"since"`
	Sources []Source  `json:"sources"`
	Why     string    `json:"why"`
	// Waits says what for, Until how long, where that is known.
	Waits string     `json:"waits"`
	Until *time.Time `json:"until,omitempty"`
}

// Wait says what the reload waits for, and until when if that is known.
func (p *Pending) Wait() string {
	if p.Until == nil {
		return p.Waits
	}
	return p.Waits + ", until " + p.Until.UTC().Format(time.RFC3339)
}

// Last returns the last reload that the annotations of a workload tell of, nil if none has been. It is meant for showing: the error names what
// is not readable.
func Last(annotations map[string]string) (*LastReload, error) {
	return read[LastReload](annotations, LastAnnotation)
}

// Waiting returns the pending reload that the annotations of a workload tell of, nil if there is none.
func Waiting(annotations map[string]string) (*Pending, error) {
	return read[Pending](annotations, PendingAnnotation)
}

func read[T any](annotations map[string]string, key string) (*T, error) {
	text, ok := annotations[key]
	if !ok {
		return nil, nil
	}
	value := new(T)
	if err := json.Unmarshal([]byte(text), value); err != nil {
		return nil, fmt.Errorf("annotation %s: %w", key, err)
	}
	return value, nil
}

// String returns the text of the annotation.
func (l LastReload) String() string { return encode(l) }

// String returns the text of the annotation.
func (p Pending) String() string { return encode(p) }

func encode(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return "" // structs of strings and times of this century have no error
	}
	return string(text)
}
