// Package iptc reads and edits Photoshop's image resources (Adobe Photoshop File Formats Specification, Image
// Resource Blocks) and the IPTC-IIM 4.2 in them. Reading copies nothing, and no size is trusted.
package iptc

import (
	"bytes"
	"cmp"
	"crypto/md5" //nolint:gosec // The format requires MD5; it is not used for security.
	"encoding/binary"
	"slices"

	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
)

// The image resources that matter here.
const (
	resourceIPTC   = 0x0404
	resourceEXIF1  = 0x0422 // the first of three that contain EXIF data and XMP
	resourceXMP    = 0x0424 // the last of the three
	resourceDigest = 0x0425 // MD5 of the IPTC data when XMP was last synchronized with it
)

// resource is one image resource.
type resource struct {
	edit.Span // including its padding

	id   uint16
	data edit.Span
}

// State is the state of the IPTC in a list of resources.
type State int

// The values of State.
const (
	Missing State = iota
	Sound         // one block, which can be edited
	Odd           // it may contain anything
)

// Resources is a parsed list of image resources, with the first block of IPTC in it.
type Resources struct {
	Block
	State State
	// Damaged means that a part of the list cannot be read.
	Damaged bool

	list []byte
	all  []resource
}

// Parse splits a list of image resources.
func Parse(list []byte) Resources {
	r := Resources{list: list}
	r.split()
	for _, one := range r.all {
		switch {
		case one.id != resourceIPTC:
		case r.State == Missing:
			r.State, r.Block = Sound, parseBlock(one.data.Of(list))
		default: // readers use both
			more := parseBlock(one.data.Of(list))
			r.State, r.Sets = Odd, append(r.Sets, more.Sets...)
			r.Damage = cmp.Or(r.Damage, more.Damage)
		}
	}
	if r.Damaged || r.cut {
		r.State = Odd
	}
	return r
}

// ParseBlock reads a block that is in no list of resources, where it cannot be edited.
func ParseBlock(block []byte) Resources { return Resources{Block: parseBlock(block), State: Odd} }

// Edited reports whether the IPTC was changed after XMP was last synchronized with it: it does not have its
// digest.
func (r Resources) Edited() bool {
	for _, digest := range r.all {
		if digest.id != resourceDigest || digest.data.End-digest.data.Start != md5.Size {
			continue
		}
		for _, one := range r.all {
			if one.id == resourceIPTC {
				sum := md5.Sum(one.data.Of(r.list)) //nolint:gosec // as above
				return !bytes.Equal(digest.data.Of(r.list), sum[:])
			}
		}
	}
	return false
}

// split finds the resources. Zeros between them are padding. The list is damaged if one extends beyond the end, or if there is other data among
// them.
func (r *Resources) split() {
	list := r.list
	for at := 0; at < len(list); {
		if list[at] == 0 {
			at++
			continue
		}
		const head = 4 + 2 // signature, number; then a name and a size
		if len(list)-at < head+2+4 || string(list[at:at+4]) != "8BIM" {
			r.Damaged = true
			return
		}
		one := resource{Span: edit.Span{Start: at}, id: binary.BigEndian.Uint16(list[at+4:])}
		name := 1 + int(list[at+head])
		size := at + head + name + name%2
		if len(list)-size < 4 {
			r.Damaged = true
			return
		}
		one.data.Start = size + 4
		length := binary.BigEndian.Uint32(list[size:])
		if int64(length) > int64(len(list)-one.data.Start) {
			r.Damaged = true
			return
		}
		one.data.End = one.data.Start + int(length)
		one.End = min(one.data.End+int(length%2), len(list))
		r.all = append(r.all, one)
		at = one.End
	}
}

// HoldsPackets reports whether there is EXIF data or XMP among the resources, where few programs look.
func (r Resources) HoldsPackets() bool {
	return slices.ContainsFunc(r.all, func(r resource) bool { return r.id >= resourceEXIF1 && r.id <= resourceXMP })
}

// With returns the list with the sound block and its digest replaced. A digest that was wrong stays wrong: it
// shows readers that the block was changed without changing XMP.
func (r Resources) With(b Block) []byte {
	list, block := r.list, b.bytes()
	var old resource
	var digest *resource
	for i, one := range r.all {
		switch one.id {
		case resourceIPTC:
			old = one
		case resourceDigest:
			digest = &r.all[i]
		}
	}
	if bytes.Equal(old.data.Of(list), block) {
		return list
	}
	before, after := md5.Sum(old.data.Of(list)), md5.Sum(block) //nolint:gosec // as above
	out := append([]byte(nil), list[:old.data.Start-4]...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(block)))
	out = append(out, block...)
	if len(block)%2 == 1 {
		out = append(out, 0)
	}
	if digest == nil {
		out = append(out, "8BIM\x04\x25\x00\x00\x00\x00\x00\x10"...)
		out = append(out, after[:]...)
	}
	moved := len(out) - old.End
	out = append(out, list[old.End:]...)
	if digest == nil || !bytes.Equal(digest.data.Of(list), before[:]) {
		return out
	}
	at := digest.data.Start
	if at >= old.End {
		at += moved
	}
	copy(out[at:], after[:])
	return out
}
