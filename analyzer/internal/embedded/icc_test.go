package embedded

import (
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile"
)

func TestProfileNames(t *testing.T) {
	const v4 = "mluc\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x0cdeDE\x00\x00\x00\x04\x00\x00\x00\x28enUS\x00\x00\x00\x06\x00\x00\x00\x2c" + "\x00X\x00Y\x00s\x00R\x00G"
	for name, c := range map[string]struct {
		profile imagefile.Profile
		want    string
		warned  bool
	}{
		"version 2":                    {imagefile.Profile{Data: fixture.Profile("desc\x00\x00\x00\x00\x00\x00\x00\x05sRGB\x00\x00\x00")}, "sRGB", false},
		"version 4":                    {imagefile.Profile{Data: fixture.Profile(v4)}, "sRG", false},
		"no profile":                   {imagefile.Profile{}, "", false},
		"garbage":                      {imagefile.Profile{Data: []byte("garbage")}, "", true},
		"text longer than the profile": {imagefile.Profile{Data: fixture.Profile("desc\x00\x00\x00\x00\xff\xff\xff\xffsRGB")}, "sRGB", false},
		"of a PNG":                     {imagefile.Profile{Name: "icc", Data: fixture.Profile("desc\x00\x00\x00\x00\x00\x00\x00\x03P3\x00")}, "P3", false},
		"of a PNG, damaged":            {imagefile.Profile{Name: "Display P3"}, "Display P3", false},
		"of a PNG, no name":            {imagefile.Profile{Odd: true}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			var w record.Warnings
			if got := profileName(c.profile, &w); got != c.want || (w.List != nil) != c.warned {
				t.Errorf("got %q, want %q; warnings %q", got, c.want, w.List)
			}
		})
	}
}
