// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// keptSecrets keeps the volumes that a driver has taken over.
type keptSecrets struct {
	noSecrets
	resynced []SyncedVolume
}

// Resync implements [Secrets].
func (k *keptSecrets) Resync(v SyncedVolume) { k.resynced = append(k.resynced, v) }

// What a volume holds is as old for the next driver as it is for the one that wrote it: written long after it was read, it must not pass for newer than
// what another volume has brought into the Secret meanwhile.
func TestATakenOverVolumeIsAsOldAsItsContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t)
		readAt := time.Now().Add(-3 * time.Second)
		c.Providers = readEarlier{c, readAt}
		c.call(0, "t")
		mounter, kept := c.mounter, &keptSecrets{}
		c.restart()
		c.Mounter, c.Secrets, c.RefreshInterval = mounter, kept, 0
		c.call(0, "t")
		if len(kept.resynced) != 1 {
			t.Fatalf("%d volumes are taken over", len(kept.resynced))
		}
		content, err := kept.resynced[0].Read()
		if err != nil || !content.ReadAt.Equal(readAt.Truncate(time.Millisecond)) || len(content.Files) == 0 {
			t.Errorf("%d files, read at %s, want %s; %v", len(content.Files), content.ReadAt, readAt, err)
		}
	})
}

// The time at which content was read is that of the content which is there when it is asked for.
func TestTheTimeOfAVolumesContentIsThatOfWhatItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t)
		start := time.Now().Truncate(time.Millisecond)
		p := c.publication(0, "t")
		c.call(0, "t")
		write := func(value string, readAt time.Duration) string {
			t.Helper()
			name, _, err := c.payload.WriteAsOf(p.target, []secret.File{{Path: "db", Mode: 0o644, Content: secret.New([]byte(value))}}, nil, start.Add(readAt))
			if err != nil {
				t.Fatal(err)
			}
			return name
		}
		older := write("one", time.Second)
		newer := write("two", 2*time.Second)
		for what, tc := range map[string]struct {
			last confirmation
			want time.Duration
		}{
			"as it was written":             {confirmation{payload: newer, readAt: start.Add(2 * time.Second)}, 2 * time.Second},
			"read again, and found equal":   {confirmation{payload: newer, readAt: start.Add(time.Minute)}, time.Minute},
			"replaced, by something later":  {confirmation{payload: older, readAt: start.Add(time.Second)}, 2 * time.Second},
			"replaced, by something older":  {confirmation{payload: older, readAt: start.Add(time.Minute)}, 2 * time.Second},
			"taken over: the volume knows":  {confirmation{}, 2 * time.Second},
			"written by the provider alone": {confirmation{readAt: start.Add(time.Minute), adopted: true}, time.Minute},
		} {
			content, err := c.synced(p, &v1.SecretProviderClass{}, tc.last).Read()
			if err != nil || !content.ReadAt.Equal(start.Add(tc.want)) || string(content.Files[0].Content.Reveal()) != "two" {
				t.Errorf("%s: read at %s after the start, %v", what, content.ReadAt.Sub(start), err)
			}
		}
	})
}

// A provider that does not say when it read is taken to have done so when it was asked, by this driver and by the next.
func TestContentWithoutAReadTimeIsAsOldAsTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t)
		asked := time.Now()
		c.during = func() { time.Sleep(5 * time.Second) }
		c.call(0, "t")
		p := c.publication(0, "t")
		m, _ := c.volumes.recall(p.target)
		for who, last := range map[string]confirmation{"this driver": m.confirmed, "the next one": {}} {
			if content, err := c.synced(p, m.class, last).Read(); err != nil || content.ReadAt.Sub(asked).Abs() > time.Second {
				t.Errorf("%s: read %s after it was asked for, %v", who, content.ReadAt.Sub(asked), err)
			}
		}
		early := newContent("p", &v1alpha1.MountResponse{ReadAtUnixMilli: asked.Add(time.Hour).UnixMilli()}, asked)
		if !early.readAt.Equal(asked) {
			t.Errorf("what was read in the future was read at %s", early.readAt)
		}
	})
}

// A request for a rotation that comes while no driver runs is followed by the next one, whatever the interval; one that has been followed, or that is long
// past, costs nothing.
func TestARequestThatCameBetweenTwoDriversIsFollowed(t *testing.T) {
	for name, tc := range map[string]struct {
		asked time.Duration // after the volume's content was read; 0 for not at all
		text  string
		later time.Duration // when the next driver begins, after that
		want  int
	}{
		"between the two":       {asked: time.Minute, later: time.Minute, want: 1},
		"before the last read":  {asked: -time.Minute, later: time.Minute},
		"long ago":              {asked: time.Minute, later: 2 * time.Hour},
		"not at all":            {later: time.Minute},
		"with a text of no use": {text: "please", later: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClockwork(t)
				time.Sleep(time.Hour) // the request may be older than the volume
				read := time.Now()
				c.call(0, "t")
				c.asks()
				time.Sleep(max(tc.asked, 0))
				if tc.asked != 0 {
					tc.text = read.Add(tc.asked).UTC().Format(time.RFC3339Nano)
				}
				mounter := c.mounter
				c.restart()
				c.Mounter, c.RefreshInterval = mounter, 30*24*time.Hour
				c.setClass(func(class *v1.SecretProviderClass) {
					if tc.text != "" {
						class.Annotations = map[string]string{v1.RotateAnnotation: tc.text}
					}
				})
				time.Sleep(tc.later)
				c.run()
				c.call(0, "t")
				time.Sleep(time.Minute)
				asks := c.asks()
				if len(asks) != tc.want {
					t.Errorf("%d refreshes", len(asks))
				}
				if tc.want > 0 && !strings.Contains(asks[0].request.GetAttributes(), v1.FetchedAfterAttribute) {
					t.Errorf("the provider may answer from memory: %s", asks[0].request.GetAttributes())
				}
			})
		})
	}
}

// The interval of a class counts for volumes that are taken over too.
func TestATakenOverVolumeHasTheIntervalOfItsClass(t *testing.T) {
	for text, want := range map[string]int{"10s": 1, "0": 0} {
		synctest.Test(t, func(t *testing.T) {
			c := newClockwork(t)
			c.call(0, "t")
			c.asks()
			mounter := c.mounter
			c.restart()
			c.Mounter, c.RefreshInterval = mounter, time.Minute
			c.setClass(func(class *v1.SecretProviderClass) {
				class.Annotations = map[string]string{v1.RotationIntervalAnnotation: text}
			})
			c.run()
			c.call(0, "t")
			time.Sleep(10 * time.Second)
			if got := len(c.asks()); want == 0 && got != 0 || want > 0 && got == 0 {
				t.Errorf("%s: %d refreshes in ten seconds", text, got)
			}
			time.Sleep(5 * time.Minute)
			if got := len(c.asks()); want == 0 && got != 0 {
				t.Errorf("%s: %d refreshes in five minutes", text, got)
			}
		})
	}
}

// readEarlier is a provider that has read what it returns some time ago.
type readEarlier struct {
	ContentSource
	at time.Time
}

// Mount implements [ContentSource].
func (r readEarlier) Mount(
	ctx context.Context, provider string, req *v1alpha1.MountRequest, waiting func(*reason.Error),
) (*v1alpha1.MountResponse, error) {
	answer, err := r.ContentSource.Mount(ctx, provider, req, waiting)
	if answer != nil {
		answer.ReadAtUnixMilli = r.at.UnixMilli()
	}
	return answer, err
}
