package embed

import (
	"cmp"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/imagebatch/imagebatch/shared/imagefile/xmp"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Property is a property of our XMP description: the field of the record that it repeats, according to the
// struct tags of [pipeline.Metadata].
type Property struct {
	Name, Type string // such as "Flags", "Seq of Text"
	Field      string // path in the record
	Core       bool   // written even if space is short

	rank     int
	index    []int // of the field
	part     int   // of the items of a list of structs; -1 for other fields
	optional bool  // a zero value is not known
}

// Properties lists our properties in the order in which they are written.
var Properties = propertiesOf(reflect.TypeFor[pipeline.Metadata]())

func propertiesOf(t reflect.Type) []Property {
	var all []Property
	add := func(f reflect.StructField, p Property) {
		name, option, _ := strings.Cut(f.Tag.Get("xmp"), ",")
		if name == "" {
			return
		}
		json, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		p.Name, p.Field = name, p.Field+json
		p.Core, p.rank, p.optional = option == "core", slices.Index([]string{"core", "original", ""}, option), options != ""
		p.Type += xmpType(f.Type)
		all = append(all, p)
	}
	for f := range t.Fields() {
		if f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct {
			list, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			for part := range f.Type.Elem().Fields() {
				add(part, Property{Type: "Seq of ", Field: list + ".", index: f.Index, part: part.Index[0]})
			}
			continue
		}
		add(f, Property{index: f.Index, part: -1})
	}
	slices.SortStableFunc(all, func(a, b Property) int { return cmp.Compare(a.rank, b.rank) })
	return all
}

func xmpType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		return "Integer"
	case reflect.Float64:
		return "Real"
	case reflect.Bool:
		return "Boolean"
	case reflect.Slice:
		return "Seq of " + xmpType(t.Elem())
	default: // arrays are written as text
		return "Text"
	}
}

// describe returns our description of an image. It omits missing values.
func describe(m pipeline.Metadata) xmp.Description {
	record := reflect.ValueOf(m)
	out := make([]xmp.Property, 0, len(Properties))
	for _, p := range Properties {
		v := record.FieldByIndex(p.index)
		if p.optional && v.IsZero() {
			continue
		}
		w := xmp.Property{Name: p.Name, Core: p.Core}
		if v.Kind() != reflect.Slice {
			w.Value = formatted(v)
			out = append(out, w)
			continue
		}
		w.List = "Seq"
		for i := range v.Len() {
			item := v.Index(i)
			if p.part >= 0 {
				item = item.Field(p.part)
			}
			w.Values = append(w.Values, formatted(item))
		}
		out = append(out, w)
	}
	return xmp.Describe(out)
}

// formatted formats a value. The XMP type Real has neither exponents nor special values, so it returns "" for
// those.
func formatted(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Int, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Bool:
		if v.Bool() {
			return "True"
		}
		return "False"
	case reflect.Float64:
		if f := v.Float(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return strconv.FormatFloat(f, 'f', -1, 64)
		}
		return ""
	case reflect.Array:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = formatted(v.Index(i))
		}
		return strings.Join(parts, " ")
	default:
		return v.String()
	}
}
