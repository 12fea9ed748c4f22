// SPDX-License-Identifier: Apache-2.0

package secretsync

import (
	"strings"

	"github.com/vaultferry/vaultferry/internal/core"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// Outcome says what a [Syncer] did with one Secret.
type Outcome string

// The outcomes.
const (
	// Created means that the Secret was absent and is there now.
	Created Outcome = "created"
	// Updated means that something of the Secret was written; [Result.Rotated] says whether its data was.
	Updated Outcome = "updated"
	// Unchanged means that the Secret held everything already and nothing was written.
	Unchanged Outcome = "unchanged"
	// Skipped means that there was nothing to do for a reason that [Result.Note] tells and that is no fault.
	Skipped Outcome = "skipped"
	// Refused means that nothing was written because of [Result.Err].
	Refused Outcome = "refused"
)

// Reasons of the events on the pod, which are those of the Secrets Store CSI Driver, but for EventRepaired.
const (
	EventRepaired       = "SecretRepaired"
	EventRotated        = "SecretRotationComplete"
	EventRotationFailed = "SecretRotationFailed"
	EventCreateFailed   = "FailedToCreateSecret"
)

// Result is what became of one Secret of a class.
type Result struct {
	// Secret is the Secret's name; it may be empty where the class gives none.
	Secret  string
	Outcome Outcome
	// Rotated says that data of an existing Secret was replaced.
	Rotated bool
	// Repaired lists the changes of others, as "manager (field)", that were undone.
	Repaired []string
	// Note says why a Secret was skipped, or was given an owner but no content.
	Note string
	// Err is set exactly for [Refused].
	Err *reason.Error

	// existed says that the Secret was seen.
	existed bool
}

// Event returns the event that the pod gets for a result. ok is false where there is nothing to tell a person.
func (r Result) Event() (eventType, eventReason, message string, ok bool) {
	switch {
	case r.Outcome == Refused && r.existed:
		return core.EventTypeWarning, EventRotationFailed, r.Err.Error(), true
	case r.Outcome == Refused:
		return core.EventTypeWarning, EventCreateFailed, r.Err.Error(), true
	case r.Outcome == Updated && len(r.Repaired) > 0:
		return core.EventTypeNormal, EventRepaired, "undid a change of K8s secret " + r.Secret + " by " + strings.Join(r.Repaired, ", "), true
	case r.Outcome == Updated && r.Rotated:
		return core.EventTypeNormal, EventRotated, "successfully rotated K8s secret " + r.Secret, true
	}
	return "", "", "", false
}
