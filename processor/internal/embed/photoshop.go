package embed

import (
	"bytes"
	"crypto/md5" //nolint:gosec // The format requires MD5; it is not used for security.
	"encoding/binary"
	"slices"

	"github.com/imagebatch/imagebatch/processor/internal/caption"
)

// The image resources of Photoshop that matter here, as numbered in the Photoshop File Formats Specification.
const (
	resourceIPTC   = 0x0404
	resourceEXIF1  = 0x0422 // the first of three that contain EXIF data and XMP
	resourceXMP    = 0x0424 // the last of the three
	resourceDigest = 0x0425 // MD5 of the IPTC data when XMP was last synchronized with it

	photoshopSignature = "Photoshop 3.0\x00"
)

// resource is one image resource.
type resource struct {
	span // including its padding

	id   uint16
	data span
}

// readResources splits a list of image resources. It is not ok if one extends beyond the end, or if there is
// other data among them.
func readResources(list []byte) ([]resource, bool) {
	var all []resource
	for at := 0; at < len(list); {
		const head = 4 + 2 // signature, number; then a name and a size
		if len(list)-at < head+2+4 || string(list[at:at+4]) != "8BIM" {
			return all, isZero(list[at:])
		}
		r := resource{span: span{start: at}, id: binary.BigEndian.Uint16(list[at+4:])}
		name := 1 + int(list[at+head])
		size := at + head + name + name%2
		if len(list)-size < 4 {
			return all, false
		}
		r.data.start = size + 4
		length := binary.BigEndian.Uint32(list[size:])
		if int64(length) > int64(len(list)-r.data.start) {
			return all, false
		}
		r.data.end = r.data.start + int(length)
		r.end = min(r.data.end+int(length%2), len(list))
		all = append(all, r)
		at = r.end
	}
	return all, true
}

// iptcState is the state of the IPTC in a list of resources.
type iptcState int

const (
	iptcMissing iptcState = iota
	iptcSound             // one block, which can be filled
	iptcOdd               // it may contain anything
)

func readIPTC(list []byte) (iim, iptcState) {
	all, ok := readResources(list)
	state := iptcMissing
	var block iim
	for _, r := range all {
		if r.id == resourceIPTC {
			if state == iptcMissing {
				state = iptcSound
			} else {
				state = iptcOdd
			}
			var sound bool
			block, sound = readIIM(r.data.of(list))
			ok = ok && sound
		}
	}
	if !ok {
		state = iptcOdd
	}
	return block, state
}

// states reports whether the IPTC states a field with a value that is not ours.
func (s iptcState) states(block iim, f caption.Field, m caption.Marks) bool {
	return s == iptcOdd || s == iptcSound && block.states(f, m)
}

// holdsPackets reports whether there is EXIF data or XMP among the resources, where few programs look.
func holdsPackets(list []byte) bool {
	all, _ := readResources(list)
	return slices.ContainsFunc(all, func(r resource) bool { return r.id >= resourceEXIF1 && r.id <= resourceXMP })
}

// withIPTC returns a list of resources with the existing block and its digest replaced. A digest that was wrong
// stays wrong: it shows readers that the block was changed without changing XMP.
func withIPTC(list, block []byte) []byte {
	all, _ := readResources(list)
	var old resource
	var digest *resource
	for i, r := range all {
		switch r.id {
		case resourceIPTC:
			old = r
		case resourceDigest:
			digest = &all[i]
		}
	}
	before, after := md5.Sum(old.data.of(list)), md5.Sum(block) //nolint:gosec // as above
	out := append([]byte(nil), list[:old.data.start-4]...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(block)))
	out = append(out, block...)
	if len(block)%2 == 1 {
		out = append(out, 0)
	}
	if digest == nil {
		out = append(out, "8BIM\x04\x25\x00\x00\x00\x00\x00\x10"...)
		out = append(out, after[:]...)
	}
	moved := len(out) - old.end
	out = append(out, list[old.end:]...)
	if digest == nil || !bytes.Equal(digest.data.of(list), before[:]) {
		return out
	}
	at := digest.data.start
	if at >= old.end {
		at += moved
	}
	copy(out[at:], after[:])
	return out
}
