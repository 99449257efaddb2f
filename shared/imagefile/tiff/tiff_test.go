package tiff

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"testing"
)

// orders are the byte orders of a block, by its first bytes.
var orders = map[string]ByteOrder{"II*\x00": binary.LittleEndian, "MM\x00*": binary.BigEndian}

// oneEntry returns a block with one entry, and the entry. A value of more than four bytes follows the directory.
func oneEntry(t *testing.T, order ByteOrder, tag, kind uint16, count uint32, value []byte) (Block, Entry) {
	t.Helper()
	head := "II*\x00"
	if order == binary.BigEndian {
		head = "MM\x00*"
	}
	data := order.AppendUint32([]byte(head), 8)
	data = order.AppendUint16(order.AppendUint16(order.AppendUint16(data, 1), tag), kind)
	data = order.AppendUint32(data, count)
	if len(value) > 4 {
		data = order.AppendUint32(order.AppendUint32(data, 26), 0)
		data = append(data, value...)
	} else {
		data = append(append(data, value...), make([]byte, 8-len(value))...)
	}
	b, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := b.Find(b.First, tag)
	return b, e
}

// TestNumbersOfEveryType reads a value from each numeric type, in both byte orders.
func TestNumbersOfEveryType(t *testing.T) {
	for _, order := range orders {
		pair := func(a, b uint32) []byte { return order.AppendUint32(order.AppendUint32(nil, a), b) }
		for _, c := range []struct {
			kind  uint16
			value []byte
			want  float64
		}{
			{Byte, []byte{200}, 200},
			{SByte, []byte{0xff}, -1},
			{Undefined, []byte{6}, 6},
			{Short, order.AppendUint16(nil, 65535), 65535},
			{SShort, order.AppendUint16(nil, 65535), -1},
			{Long, order.AppendUint32(nil, math.MaxUint32), math.MaxUint32},
			{SLong, order.AppendUint32(nil, math.MaxUint32), -1},
			{IFD, order.AppendUint32(nil, 8), 8},
			{Rational, pair(math.MaxUint32, 2), math.MaxUint32 / 2.0},
			{SRational, pair(math.MaxUint32, 2), -0.5},
			{Float, order.AppendUint32(nil, math.Float32bits(2.5)), 2.5},
			{Double, order.AppendUint64(nil, math.Float64bits(51.0086)), 51.0086},
		} {
			b, e := oneEntry(t, order, 0x8827, c.kind, 1, c.value)
			if got, ok := b.Number(e, 0); !ok || got != c.want {
				t.Errorf("%v, type %d: %v %v, want %v", order, c.kind, got, ok, c.want)
			}
			if _, ok := b.Number(e, 1); ok {
				t.Errorf("%v, type %d: there is no second value", order, c.kind)
			}
		}
		for _, unknown := range []struct {
			kind  uint16
			value []byte
		}{
			{Rational, pair(0, 0)},
			{SRational, pair(1, 0)},
			{Float, order.AppendUint32(nil, math.Float32bits(float32(math.NaN())))},
			{Double, order.AppendUint64(nil, math.Float64bits(math.Inf(1)))},
			{ASCII, []byte("8\x00")},
			{99, []byte{1}},
		} {
			b, e := oneEntry(t, order, 0x8827, unknown.kind, 1, unknown.value)
			if got, ok := b.Number(e, 0); ok {
				t.Errorf("%v, type %d: %v is no number", order, unknown.kind, got)
			}
		}
	}
}

// TestFractions verifies that a floating-point number becomes the fraction that it stands for.
func TestFractions(t *testing.T) {
	for _, f := range []Fraction{{1, 250}, {1, 3}, {30, 1}, {13, 10}, {0, 1}, {-1, 3}, {1, 8000}, {100_001, 1}} {
		for kind, value := range map[uint16][]byte{
			Float:  binary.BigEndian.AppendUint32(nil, math.Float32bits(float32(f.Float()))),
			Double: binary.BigEndian.AppendUint64(nil, math.Float64bits(f.Float())),
		} {
			b, e := oneEntry(t, binary.BigEndian, 0x829a, kind, 1, value)
			if got, ok := b.Fraction(e, 0); !ok || got != f {
				t.Errorf("type %d: %v %v, want %v", kind, got, ok, f)
			}
		}
	}
	for _, v := range []float64{math.NaN(), math.Inf(1), 1e300, -1e300} {
		if f, ok := fractionOf(v); ok {
			t.Errorf("%v is %v", v, f)
		}
	}
	if got := (Fraction{10, -2500}).Reduced(); got != (Fraction{-1, 250}) {
		t.Errorf("reduced to %v", got)
	}
}

// TestPointersOfEveryType removes a GPS directory whose pointer has each of the integer types: a reader that is more
// lenient than the removal would still find the position.
func TestPointersOfEveryType(t *testing.T) {
	for _, order := range orders {
		for kind, at := range map[uint16][]byte{
			Byte: {26}, SByte: {26}, Short: order.AppendUint16(nil, 26), SShort: order.AppendUint16(nil, 26),
			Long: order.AppendUint32(nil, 26), SLong: order.AppendUint32(nil, 26), IFD: order.AppendUint32(nil, 26),
			99: order.AppendUint32(nil, 26),
		} {
			b, e := oneEntry(t, order, TagGPS, kind, 1, at)
			b.Data = append(b.Data, make([]byte, 18)...)
			order.PutUint16(b.Data[26:], 1)
			order.PutUint16(b.Data[28:], 2)
			copy(b.Data[30:], "secret")
			if got := b.Pointer(e); got != 26 {
				t.Errorf("%v, type %d: %d", order, kind, got)
			}
			if without, removed := b.WithoutGPS(); !removed || bytes.Contains(without.Data, []byte("secret")) {
				t.Errorf("%v, type %d: the directory stays", order, kind)
			}
		}
	}
}

func TestOrientationOfEveryType(t *testing.T) {
	for _, order := range orders {
		for kind, value := range map[uint16][]byte{
			Byte: {6}, SByte: {6}, Undefined: {6}, Short: order.AppendUint16(nil, 6), SShort: order.AppendUint16(nil, 6),
			Long: order.AppendUint32(nil, 6), SLong: order.AppendUint32(nil, 6), Float: order.AppendUint32(nil, math.Float32bits(6)),
			Rational: order.AppendUint32(order.AppendUint32(nil, 6), 1), SRational: order.AppendUint32(order.AppendUint32(nil, 12), 2),
			Double: order.AppendUint64(nil, math.Float64bits(6)),
		} {
			if b, _ := oneEntry(t, order, TagOrientation, kind, 1, value); b.Orientation() != 6 {
				t.Errorf("%v, type %d: orientation %d", order, kind, b.Orientation())
			}
		}
	}
	for name, value := range map[string][]byte{"half": {0, 0, 0, 13, 0, 0, 0, 2}, "unknown": {0, 0, 0, 6, 0, 0, 0, 0}, "nine": {0, 0, 0, 9, 0, 0, 0, 1}} {
		if b, _ := oneEntry(t, binary.BigEndian, TagOrientation, Rational, 1, value); b.Orientation() != 1 {
			t.Errorf("%s: orientation %d", name, b.Orientation())
		}
	}
}

// FuzzEntries reads every entry in every way.
func FuzzEntries(f *testing.F) {
	for head, order := range orders {
		data := order.AppendUint16(order.AppendUint32([]byte(head), 8), 2)
		for _, kind := range []uint16{Double, 99} {
			data = order.AppendUint16(order.AppendUint16(data, TagGPS), kind)
			data = order.AppendUint32(order.AppendUint32(data, 1), 10)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := Parse(data)
		if err != nil {
			return
		}
		if o := b.Orientation(); o < 1 || o > 8 {
			t.Fatalf("orientation %d", o)
		}
		for e := range b.Entries(b.First) {
			for _, i := range []int{0, 1, int(e.Count) - 1, int(e.Count)} {
				if i < 0 {
					continue
				}
				number, ok := b.Number(e, i)
				if fraction, isFraction := b.Fraction(e, i); ok && isFraction && math.Abs(fraction.Float()-number) > 1e-6*math.Abs(number)+1e-11 {
					t.Fatal(fmt.Sprint(fraction, " is not ", number))
				}
			}
			if at, ok := b.Available(e); ok {
				_ = at.Of(data)
			}
			_, _ = b.Directory(b.Pointer(e))
			_, _ = b.Text(e)
		}
		if b.Whole(b.First) {
			_, _ = b.WithoutGPS()
		}
	})
}
