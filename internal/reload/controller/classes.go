// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"time"

	"github.com/vaultferry/vaultferry/internal/reload"
)

const (
	// settling is for how long a version that was there before is taken for that of a node, or of a cache, that lags behind. After
	// that it is believed: somebody has disabled the newer version in the vault.
	settling = 30 * time.Second
	// mounting is how long a pod status may take to appear after the mount that it tells of.
	mounting = 5 * time.Second
)

// class is what all pods together tell of a class: the newest version of each object. It only moves forward, whatever nodes that lag behind
// still show.
type class struct {
	pods    map[string]*podStatus // by the name of the status
	objects map[string]*objectVersion
	// begun is when the first mount worked of the pods that were seen without one, by the name of the status; zero until then. Such a status is older than what its
	// pod has read.
	begun map[string]time.Time
	// Ignored and Matched of the class's annotations are kept here.
	ignored, matched bool
}

// objectVersion is the newest version of one object.
type objectVersion struct {
	version string
	at      time.Time
	before  map[string]bool
}

func newClass() *class {
	return &class{pods: map[string]*podStatus{}, objects: map[string]*objectVersion{}, begun: map[string]time.Time{}}
}

func (c *class) set(s *podStatus) {
	name := s.ObjectMeta.Name
	if !s.mounted && len(s.versions) == 0 {
		// The mount has failed: the pod has not started and holds nothing.
		c.remove(name)
		c.begun[name] = time.Time{}
		return
	}
	if at, waited := c.begun[name]; waited && at.IsZero() {
		c.begun[name] = s.at
	}
	c.pods[name] = s
	for id, version := range s.versions {
		newest := c.objects[id]
		switch {
		case newest == nil:
			c.objects[id] = &objectVersion{version: version, at: s.at, before: map[string]bool{}}
		case newest.version == version:
			if s.at.Before(newest.at) {
				newest.at = s.at
			}
		case !s.at.After(newest.at):
			newest.before[version] = true
		case newest.before[version] && s.at.Before(newest.at.Add(settling)):
		default:
			newest.before[newest.version] = true
			delete(newest.before, version)
			newest.version, newest.at = version, s.at
		}
	}
	c.forget()
}

func (c *class) remove(name string) {
	delete(c.pods, name)
	delete(c.begun, name)
	c.forget()
}

// forget drops objects that no pod mounts any more. Without any pod, what was there last stays known.
func (c *class) forget() {
	if len(c.pods) == 0 {
		return
	}
	for id := range c.objects {
		if !c.mounted(id) {
			delete(c.objects, id)
		}
	}
}

func (c *class) mounted(id string) bool {
	for _, pod := range c.pods {
		if _, ok := pod.versions[id]; ok {
			return true
		}
	}
	return false
}

// content returns the content of the class.
func (c *class) content(name string, hasher reload.Hasher, sha1 bool) reload.Content {
	versions, data := map[string]string{}, map[string][]byte{}
	var at time.Time
	for id, newest := range c.objects {
		versions[id], data[id] = newest.version, []byte(newest.version)
		if newest.at.After(at) {
			at = newest.at
		}
	}
	content := hasher.Content(data)
	content.Present, content.At, content.Fresh = len(c.pods) > 0, at, c.fresh()
	content.Ignored, content.Matched = c.ignored, c.matched
	if sha1 {
		content.SHA1 = reload.ClassSHA1(name, versions)
	}
	return content
}

// settled reports whether every pod shows the newest versions.
func (c *class) settled() bool {
	for _, pod := range c.pods {
		for id, version := range pod.versions {
			if c.objects[id] != nil && c.objects[id].version != version {
				return false
			}
		}
	}
	return true
}

// fresh reports whether every pod has mounted the newest versions at its start.
func (c *class) fresh() bool {
	for name, pod := range c.pods {
		start := pod.CreationTimestamp.Time
		if begun := c.begun[name]; begun.After(start) {
			start = begun
		}
		if pod.at.After(start.Add(mounting)) {
			return false
		}
	}
	return c.settled()
}
