package imagefile

import "encoding/binary"

// The EXIF orientation tag (CIPA DC-008, 4.6.4) and the TIFF types that programs use for it; SHORT is the
// correct one.
const (
	tagOrientation = 0x0112
	tiffByte       = 1
	tiffShort      = 3
	tiffLong       = 4
)

// exifAdobeRGB reports whether the InteroperabilityIndex (CIPA DC-008, 4.6.3) is R03, which DCF 2.0 defines as
// Adobe RGB. It is in a directory that the EXIF directory refers to.
func exifAdobeRGB(tiff []byte) bool {
	const exifIFD, interoperabilityIFD, index = 0x8769, 0xa005, 1
	if len(tiff) < 8 {
		return false
	}
	var order binary.ByteOrder = binary.BigEndian
	if tiff[0] == 'I' {
		order = binary.LittleEndian
	}
	value := tiff[4:8]
	for _, tag := range [...]uint16{exifIFD, interoperabilityIFD, index} {
		offset := int64(order.Uint32(value))
		if offset < 8 || offset+2 > int64(len(tiff)) {
			return false
		}
		entries := tiff[offset+2:]
		value = nil
		for range order.Uint16(tiff[offset:]) {
			if len(entries) < 12 || order.Uint16(entries) == tag {
				break
			}
			entries = entries[12:]
		}
		if len(entries) < 12 || order.Uint16(entries) != tag {
			return false
		}
		value = entries[8:12]
	}
	return string(value) == "R03\x00"
}

// exifOrientation reads the orientation from the first directory of a TIFF structure. It returns 1, upright, if
// the structure is damaged or contains no value between 1 and 8. It never reads the thumbnail's own
// orientation, which is in the second directory.
func exifOrientation(tiff []byte) int {
	if len(tiff) < 8 {
		return 1
	}
	var order binary.ByteOrder
	switch string(tiff[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 1
	}
	offset := int64(order.Uint32(tiff[4:]))
	if offset < 8 || offset+2 > int64(len(tiff)) {
		return 1
	}
	entries := tiff[offset+2:]
	for range order.Uint16(tiff[offset:]) {
		if len(entries) < 12 {
			return 1
		}
		if order.Uint16(entries) == tagOrientation && order.Uint32(entries[4:]) == 1 {
			value := uint32(0)
			switch order.Uint16(entries[2:]) {
			case tiffByte:
				value = uint32(entries[8])
			case tiffShort:
				value = uint32(order.Uint16(entries[8:]))
			case tiffLong:
				value = order.Uint32(entries[8:])
			}
			if value >= 1 && value <= 8 {
				return int(value)
			}
			return 1
		}
		entries = entries[12:]
	}
	return 1
}
