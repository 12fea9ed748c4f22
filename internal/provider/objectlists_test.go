// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// texts returns the remembered texts, the one used last first.
func (l *objectLists) texts() []string {
	var texts []string
	for e := l.byUse.Front(); e != nil; e = e.Next() {
		texts = append(texts, e.Value.(*objectList).text)
	}
	return texts
}

// parseText parses a text of objects and returns everything that came of it.
func (l *objectLists) parseText(text string) ([]object, problems) {
	var found problems
	return l.parse(parameters{objectsKey: text}, &found), found
}

func TestWhatIsRememberedIsWhatIsParsed(t *testing.T) {
	lists := newObjectLists(maxLists, maxListsBytes)
	for name, tc := range map[string]struct {
		text string
		kept bool
	}{
		"one":             {validObjects, true},
		"all fields":      {objectsOf([]string{"objectName: a", "objectType: secret", "objectAlias: b/c", "filePermission: 0400", "caAlias: ca", "optional: true"}), true},
		"unknown fields":  {objectsOf([]string{"objectName: a", "objectType: secret", "objectalias: b", "x: 1"}), true},
		"tags":            {objectsOf([]string{"namePrefix: a", "objectType: secret", `tags: "a=b,c=d"`}), true},
		"a pattern":       {objectsOf([]string{"namePattern: (a{1,900}){1,1}", "objectType: secret"}), false},
		"nothing":         {"", false},
		"a problem":       {objectsOf([]string{"objectName: a", "objectType: secrte", "x: 1"}), false},
		"a problem of it": {validObjects + "  - |\n    objectName: db\n    objectType: secret\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			wantObjects, want := (*objectLists)(nil).parseText(tc.text)
			for range 3 {
				objects, found := lists.parseText(tc.text)
				if fmt.Sprintf("%+v", found) != fmt.Sprintf("%+v", want) || len(objects) != len(wantObjects) {
					t.Fatalf("got %+v %+v, want %+v %+v", objects, found, wantObjects, want)
				}
				if tc.kept && !reflect.DeepEqual(objects, wantObjects) {
					t.Fatalf("got %+v, want %+v", objects, wantObjects)
				}
			}
			if kept := slices.Contains(lists.texts(), tc.text); kept != tc.kept {
				t.Fatalf("remembered: %v", kept)
			}
		})
	}
}

func TestRememberedListsAreBounded(t *testing.T) {
	text := func(i int) string { return entryOf(fmt.Sprintf("objectName: db-%03d", i), "objectType: secret") }
	lists := newObjectLists(3, maxListsBytes)
	for _, i := range []int{0, 1, 2, 0, 3} {
		lists.parseText(text(i))
	}
	if got, want := lists.texts(), []string{text(3), text(0), text(2)}; !slices.Equal(got, want) || len(lists.known) != 3 {
		t.Fatalf("got %q, want %q", got, want)
	}
	one := (&objectList{text: text(0), objects: make([]object, 1)}).size()
	lists = newObjectLists(maxLists, 2*one)
	for i := range 10 {
		lists.parseText(text(i))
	}
	if got, want := lists.texts(), []string{text(9), text(8)}; !slices.Equal(got, want) || len(lists.known) != 2 || lists.bytes != 2*one {
		t.Fatalf("got %q with %d bytes, want %q with %d", got, lists.bytes, want, 2*one)
	}
	// What is too large for all of the room costs nobody else's.
	lists.parseText(objectsOf(slices.Repeat([][]string{{"namePrefix: a", "objectType: secret"}}, 10)...))
	if got := lists.texts(); len(got) != 2 {
		t.Fatalf("got %q", got)
	}
}

// An alias makes a short text mean much; what it means counts.
func TestSizeOfAListCountsWhatAliasesStandFor(t *testing.T) {
	tags := make([]string, 100)
	for i := range tags {
		tags[i] = fmt.Sprintf("t%d: x", i)
	}
	text := "- {objectType: secret, namePrefix: a, tags: &t {" + strings.Join(tags, ", ") + "}}\n" +
		strings.Repeat("- {objectType: secret, namePrefix: a, tags: *t}\n", 100)
	objects, found := (*objectLists)(nil).parseText(text)
	if err := found.err(); err != nil {
		t.Fatal(err)
	}
	if size := (&objectList{text: text, objects: objects}).size(); size < 101*100*100 {
		t.Fatalf("%d tags take %d bytes", 101*100, size)
	}
}

func TestAChangedClassIsSeenAtOnce(t *testing.T) {
	var asked []keyvault.Item
	r := start(t, fetch(func(ctx context.Context, request keyvault.Request) ([]keyvault.Object, error) {
		asked = request.Items
		return everything(ctx, request)
	}))
	for range 2 {
		for _, change := range []map[string]string{
			{}, {vaultKey: "kv-other"}, {objectsKey: entryOf("objectName: db", "objectType: key")},
			{objectsKey: strings.Replace(validObjects, "db", "dc", 1)}, {objectsKey: validObjects + "    optional: true\n"},
		} {
			call := validCall()
			maps.Copy(call.attributes, change)
			if _, err := r.client.Mount(t.Context(), call.request()); err != nil && asked[0].Type != keyvault.TypeKey {
				t.Fatal(err)
			}
			c, err := parseClass(call.attributes, nil, &clouds{fallback: "AzurePublicCloud"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := c.objects[0].item
			want.Vault = c.vault
			if !slices.Equal(asked, []keyvault.Item{want}) {
				t.Fatalf("asked for %+v, want %+v", asked, want)
			}
		}
	}
	call := validCall()
	call.attributes[objectsKey] = entryOf("objectName: db", "objectType: secrte")
	if _, err := r.client.Mount(t.Context(), call.request()); reason.Of(err) != reason.ObjectsInvalid.Name {
		t.Fatalf("got %v", err)
	}
}

// podOf is a mount of the same objects by one of many pods: each with its own client, tenant, namespace, vault, mode and credentials.
func podOf(t *testing.T, i int) (mountCall, entra.Login) {
	t.Helper()
	namespace, client := fmt.Sprintf("team-%d", i), fmt.Sprintf("00001111-aaaa-2222-bbbb-3333cccc%04d", i)
	call := mountCall{permission: "420", attributes: validAttributes()}
	maps.Copy(call.attributes, map[string]string{
		podNamespaceKey: namespace, podNameKey: "web-" + namespace, "tenantId": "tenant-" + namespace, vaultKey: "kv-" + namespace, clientIDKey: client,
	})
	want := entra.Login{Tenant: "tenant-" + namespace, ClientID: client, Subject: "system:serviceaccount:" + namespace + ":app-sa", Cloud: entra.PublicCloud()}
	switch i % 3 {
	case 0:
		call.attributes[tokensKey] = tokensFor(entra.DefaultAudience, jwtOf(want.Subject))
	case 1:
		want.Mode = entra.ServicePrincipal
		delete(call.attributes, clientIDKey)
		call.secrets = map[string]string{"clientid": client, "clientsecret": canary + namespace}
	default:
		want.Mode = entra.ManagedIdentity
		maps.Copy(call.attributes, map[string]string{useVMManagedIdentity: "true", userAssignedIdentity: client})
	}
	return call, want
}

func TestPodsOfTheSameObjectsKeepTheirOwnIdentities(t *testing.T) {
	var server *Server
	var logins sync.Map
	server, err := New(Config{
		Endpoint: "unix:///unused.sock", Logger: discarded(),
		Session: func(l entra.Login) keyvault.TokenSource {
			logins.Store(l.Subject, l)
			return identityOnly{identity: entra.Identity{Subject: l.Subject}}
		},
		Objects: fetch(func(_ context.Context, r keyvault.Request) ([]keyvault.Object, error) {
			namespace := strings.Split(r.Tokens.Identity().Subject, ":")[2]
			if r.Items[0].Vault != "kv-"+namespace {
				return nil, fmt.Errorf("%s reads from %s", namespace, r.Items[0].Vault)
			}
			return everything(t.Context(), r)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	const pods = 30
	var mounts sync.WaitGroup
	for i := range pods {
		call, want := podOf(t, i)
		mounts.Go(func() {
			for range 5 {
				if _, err := server.Mount(t.Context(), call.request()); err != nil {
					t.Error(err)
				}
				known, _ := logins.Load(want.Subject)
				got, _ := known.(entra.Login)
				if string(got.ClientSecret.Reveal()) != call.secrets["clientsecret"] || want.Mode == entra.WorkloadIdentity && got.Assertion.Subject != want.Subject {
					t.Errorf("pod %d has the credentials of %s", i, got.Assertion.Subject)
				}
				want.Assertion, want.ClientSecret = got.Assertion, got.ClientSecret
				if !reflect.DeepEqual(got, want) {
					t.Errorf("pod %d acts as %+v, want %+v", i, got, want)
				}
			}
		})
	}
	mounts.Wait()
	if got := server.lists.texts(); !slices.Equal(got, []string{validObjects}) {
		t.Fatalf("remembered %q", got)
	}
}

// Nothing but the class's text is in memory, whatever a request holds beside it.
func TestNothingOfAPodIsRemembered(t *testing.T) {
	lists := newObjectLists(maxLists, maxListsBytes)
	for i := range 3 {
		call, _ := podOf(t, i)
		if _, err := parseClass(call.attributes, call.secrets, &clouds{fallback: "AzurePublicCloud"}, lists); err != nil {
			t.Fatal(err)
		}
	}
	known := lists.find(validObjects)
	if text := fmt.Sprintf("%+v", *known); len(lists.known) != 1 || strings.Contains(text, "team-") || strings.Contains(text, canary) || strings.Contains(text, "tenant") {
		t.Fatalf("remembered %s", text)
	}
}

// Mounts of many classes side by side, more than are remembered, get the objects of their own class, and change nothing that others use.
func TestRememberedListsAreSharedSafely(t *testing.T) {
	server, err := New(Config{
		Endpoint: "unix:///unused.sock", Logger: discarded(), Objects: shopVault(),
		Session: func(entra.Login) keyvault.TokenSource { return identityOnly{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	server.lists = newObjectLists(2, maxListsBytes)
	classes := map[string]int{
		objectsOf([]string{"objectName: db", "objectType: secret", "filePermission: 0400", "x: 1"}):                     1,
		objectsOf([]string{"objectName: db", "objectType: secret", "objectVersionHistory: 3"}):                          3,
		objectsOf([]string{"namePrefix: web-", "objectType: secret", `tags: "team=shop"`, "X: 1"}):                      3,
		objectsOf([]string{"objectName: db", "objectType: secret"}, []string{"objectName: text", "objectType: secret"}): 2,
	}
	var mounts sync.WaitGroup
	for text, files := range classes {
		for range 4 {
			call := validCall()
			call.attributes[objectsKey], call.attributes["tenantid"] = text, "x"
			mounts.Go(func() {
				for range 20 {
					answer, err := server.Mount(t.Context(), call.request())
					if err != nil || len(answer.GetFiles()) != files {
						t.Errorf("got %v, %v", answer.GetFiles(), err)
					}
				}
			})
		}
	}
	mounts.Wait()
	for _, text := range server.lists.texts() {
		objects, found := server.lists.parseText(text)
		fresh, want := (*objectLists)(nil).parseText(text)
		if !reflect.DeepEqual(objects, fresh) || !reflect.DeepEqual(found, want) {
			t.Errorf("%s became %+v %+v, was %+v %+v", text, objects, found, fresh, want)
		}
	}
}

// What kubelet and the driver add to every volume's attributes is not looked at for slips, because none of it is near a parameter.
func TestKeysOfKubeletAreNoSlips(t *testing.T) {
	for _, key := range []string{classNameKey, kubeletPrefix, kubeletPrefix + "x", podNameKey, podNamespaceKey, serviceAccountKey, tokensKey, kubeletPrefix + "pod.uid", kubeletPrefix + "ephemeral"} {
		if near := reason.Nearest(key, parameterNames); near != "" {
			t.Errorf("%s is near %s", key, near)
		}
	}
	var found problems
	p := parameters{podNameKey: "a", classNameKey: "a", "keyvaultname": "a", "tenanId": "a", vaultKey: "a", "SecretProviderClass": "a", "other": "a"}
	p.ignore(&found)
	if text, _ := json.Marshal(found.ignored); len(found.ignored) != 2 || found.ignored[0].Parameter != "keyvaultname" || found.ignored[1].Parameter != "tenanId" {
		t.Fatalf("got %s", text)
	}
}
