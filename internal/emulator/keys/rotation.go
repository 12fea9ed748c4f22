// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"regexp"
	"strconv"
	"time"
)

// A RotationPolicy says when a key is to be rotated ("KeyRotationPolicy"). The
// emulator keeps it and sets the expiry by it, and rotates when it is asked to.
type RotationPolicy struct {
	ID              string             `json:"id,omitempty"`
	LifetimeActions []LifetimeAction   `json:"lifetimeActions,omitempty"`
	Attributes      RotationAttributes `json:"attributes"`
}

// A LifetimeAction is what to do, and when.
type LifetimeAction struct {
	Trigger struct {
		TimeAfterCreate  string `json:"timeAfterCreate,omitempty"`
		TimeBeforeExpiry string `json:"timeBeforeExpiry,omitempty"`
	} `json:"trigger"`
	Action struct {
		Type string `json:"type"`
	} `json:"action"`
}

// RotationAttributes are the attributes of a policy. Times are Unix seconds.
type RotationAttributes struct {
	ExpiryTime string `json:"expiryTime,omitempty"`
	Created    int64  `json:"created,omitempty"`
	Updated    int64  `json:"updated,omitempty"`
}

// DefaultRotation is the policy of a key that was given none: Key Vault
// notifies 30 days before the expiry.
func DefaultRotation() RotationPolicy {
	var a LifetimeAction
	a.Trigger.TimeBeforeExpiry, a.Action.Type = "P30D", "Notify"
	return RotationPolicy{LifetimeActions: []LifetimeAction{a}}
}

// Check says what Key Vault would not take.
func (p RotationPolicy) Check() error {
	if p.Attributes.ExpiryTime != "" && !validPeriod(p.Attributes.ExpiryTime) {
		return invalid("expiryTime", "it must be an ISO 8601 duration in days, months or years, e.g. P90D")
	}
	for _, a := range p.LifetimeActions {
		if a.Action.Type != "Rotate" && a.Action.Type != "Notify" {
			return invalid("lifetimeActions", "an action's type is Rotate or Notify")
		}
		after, before := a.Trigger.TimeAfterCreate, a.Trigger.TimeBeforeExpiry
		if (after == "") == (before == "") || !validPeriod(after+before) {
			return invalid("lifetimeActions", "a trigger has timeAfterCreate or timeBeforeExpiry, an ISO 8601 duration")
		}
	}
	return nil
}

// period is an ISO 8601 duration as rotation policies use it.
var period = regexp.MustCompile(`^P(?:(\d{1,4})Y)?(?:(\d{1,4})M)?(?:(\d{1,5})D)?$`)

func validPeriod(text string) bool { return period.MatchString(text) && text != "P" }

// Expiry is when a key made at a time expires by the policy; nil for never.
func (p *RotationPolicy) Expiry(made time.Time) *int64 {
	if p == nil || p.Attributes.ExpiryTime == "" {
		return nil
	}
	parts := period.FindStringSubmatch(p.Attributes.ExpiryTime)
	if parts == nil {
		return nil
	}
	number := func(i int) int {
		n, _ := strconv.Atoi(parts[i])
		return n
	}
	expiry := made.AddDate(number(1), number(2), number(3)).Unix()
	return &expiry
}
