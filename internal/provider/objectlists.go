// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"container/list"
	"slices"
	"sync"
)

const (
	// maxLists bounds how many texts of objects a provider remembers; a node's pods rarely use more classes.
	maxLists = 256
	// maxListsBytes bounds what they take together, an estimate in bytes. A class with five secrets takes 3 KiB.
	maxListsBytes = 1 << 20
	// largeText is the length in bytes from which on texts are parsed one at a time: tens of megabytes at worst, for a moment. 150 secrets are
	// shorter.
	largeText = 16 << 10
)

// objectLists remembers what texts of the parameter objects say, so that a class is parsed once and not for each mount of each pod. It is
// safe for concurrent use.
//
// The exact text is the key and all that an answer depends on: no identity, no pod and no secret has a part in it. A text with a problem is
// parsed each time, because its problems tell of other parameters too.
type objectLists struct {
	mostLists, mostBytes int
	// large is held by who parses a large text.
	large sync.Mutex

	mu    sync.Mutex
	bytes int
	// byUse holds *objectList, the one used last in front.
	byUse *list.List
	known map[string]*list.Element
}

// objectList is what a text says. Nothing in it changes anymore: many mounts use it at a time.
type objectList struct {
	text    string
	objects []object
	// found has ignored names alone.
	found problems
}

func newObjectLists(mostLists, mostBytes int) *objectLists {
	return &objectLists{mostLists: mostLists, mostBytes: mostBytes, byUse: list.New(), known: map[string]*list.Element{}}
}

// parse is [parseObjects]. The caller must not change the objects. A nil objectLists remembers nothing.
func (l *objectLists) parse(p parameters, found *problems) []object {
	if l == nil {
		return parseObjects(p, found)
	}
	text := p[objectsKey]
	known := l.find(text)
	if known == nil {
		if len(text) > largeText {
			l.large.Lock()
			defer l.large.Unlock()
		}
		known = &objectList{text: text}
		known.objects = slices.Clip(parseObjects(p, &known.found))
		if len(known.found.list) == 0 {
			l.keep(known)
		}
	}
	found.join(known.found)
	return known.objects
}

func (l *objectLists) find(text string) *objectList {
	l.mu.Lock()
	defer l.mu.Unlock()
	element, ok := l.known[text]
	if !ok {
		return nil
	}
	l.byUse.MoveToFront(element)
	return element.Value.(*objectList)
}

// keep remembers a list and makes room for it.
func (l *objectLists) keep(fresh *objectList) {
	if !fresh.lasting() || fresh.size() > l.mostBytes {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.known[fresh.text]; ok {
		// Another mount has parsed it meanwhile.
		return
	}
	l.known[fresh.text] = l.byUse.PushFront(fresh)
	l.bytes += fresh.size()
	for len(l.known) > l.mostLists || l.bytes > l.mostBytes {
		oldest := l.byUse.Remove(l.byUse.Back()).(*objectList)
		delete(l.known, oldest.text)
		l.bytes -= oldest.size()
	}
}

// lasting reports whether the list's size is known: a regular expression of a few letters can take megabytes once compiled.
func (o *objectList) lasting() bool {
	return !slices.ContainsFunc(o.objects, func(o object) bool { return o.selector != nil && o.selector.pattern != nil })
}

// size is about how much memory the list takes, in bytes. The strings in it are pieces of the text, or shared where the text has aliases.
func (o *objectList) size() int {
	const list, each, tag = 300, 400, 100
	size := list + 2*len(o.text) + each*len(o.objects)
	for _, object := range o.objects {
		if object.selector != nil {
			size += each + tag*len(object.selector.tags)
		}
	}
	for _, ignored := range o.found.ignored {
		size += each + len(ignored.Text)
	}
	return size
}
