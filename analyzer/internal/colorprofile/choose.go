package colorprofile

import "fmt"

// Sources are the parts of a file that specify its colors. What a file lacks is nil or false.
type Sources struct {
	CICP       []byte // payload of the PNG chunk cICP
	Profile    []byte // ICC profile, whole
	SRGB       bool   // the PNG has a chunk sRGB
	Gamma      []byte // payload of the PNG chunk gAMA
	Primaries  []byte // payload of the PNG chunk cHRM
	InteropR03 bool   // InteroperabilityIndex of the EXIF block is R03: Adobe RGB
}

// Choose returns the transform for samples of a space from the first source that can be used, in the order of
// the fields of s, which is the order of the PNG specification (third edition, 4.3). A gray image may have an
// RGB profile. nil means that there is no such source: RGB and gray samples are then sRGB. problems lists the
// sources that cannot be used.
func Choose(s Sources, samples Space) (chosen *Transform, problems []error) {
	sources := [...]struct {
		name string
		has  bool
		read func() (*Transform, error)
	}{
		{"cICP", s.CICP != nil, func() (*Transform, error) { return CICP(s.CICP) }},
		{"ICC profile", s.Profile != nil, func() (*Transform, error) { return Parse(s.Profile) }},
		{"sRGB", s.SRGB, func() (*Transform, error) { return &Transform{space: RGB, identity: true}, nil }},
		{"gAMA and cHRM", s.Gamma != nil || s.Primaries != nil, func() (*Transform, error) { return GammaAndPrimaries(s.Gamma, s.Primaries) }},
		{"EXIF interoperability index", s.InteropR03, AdobeRGB},
	}
	for _, source := range sources {
		if !source.has {
			continue
		}
		t, err := source.read()
		if err == nil && t.space != samples && (t.space != RGB || samples != Gray) {
			err = fmt.Errorf("%w: it is for %s, the image is %s", ErrUnsupported, t.space, samples)
		}
		if err == nil {
			return t, problems
		}
		problems = append(problems, fmt.Errorf("%s: %w", source.name, err))
	}
	return nil, problems
}
