package pipeline

// Metadata is the analysis of one image, and the record that is stored with the
// processed file. docs/metadata.md explains it to users, and docs/metadata.schema.json
// is its JSON Schema.
//
// Floats are rounded to the stated number of decimals, so that equal images have equal
// bytes. Properties that an image does not have are absent. Texts from the file are
// valid UTF-8 without control characters, of at most 256 bytes unless another length is
// stated.
type Metadata struct {
	AnalyzerVersion string `json:"analyzer_version"` // raised when any value changes for the same bytes

	// Title, description and keywords come from the file if it has them: XMP before
	// IPTC before PNG text before EXIF. Otherwise the analyzer composes them in English
	// from its measurements only, and lists them in Composed. It never describes the
	// content of the image or a place.

	Title       string   `json:"title"`              // one line, at most 256 bytes
	Description string   `json:"description"`        // at most 2048 bytes
	Keywords    []string `json:"keywords"`           // at most 64, without duplicates, together at most 8192 bytes
	Composed    []string `json:"composed,omitempty"` // those of "title", "description" and "keywords" that are not from the file

	Rating    int      `json:"rating,omitempty"`    // XMP xmp:Rating or EXIF 0x4746: 1 to 5 stars, -1 rejected; absent when not rated
	Copyright string   `json:"copyright,omitempty"` // XMP dc:rights, IPTC 2:116, PNG Copyright or EXIF Copyright
	Creators  []string `json:"creators,omitempty"`  // XMP dc:creator, IPTC 2:80, PNG Author or EXIF Artist; at most 8 of 128 bytes

	Format         string `json:"format"`                 // "jpeg" or "png", detected from the bytes
	Width          int    `json:"width"`                  // pixels, as displayed (orientation applied)
	Height         int    `json:"height"`                 // pixels, as displayed
	Shape          string `json:"shape"`                  // "landscape", "portrait", or "square" when the sides differ by at most 1 %
	Orientation    int    `json:"orientation"`            // EXIF 2.32 tag 0x0112, 1 to 8; 1 if the file has none
	BitDepth       int    `json:"bit_depth"`              // bits per sample as stored: 1, 2, 4, 8 or 16
	ColorModel     string `json:"color_model"`            // as stored: "gray", "ycbcr", "rgb", "cmyk" or "palette"
	HasAlpha       bool   `json:"has_alpha"`              // whether the file has an alpha channel or a transparent color
	AlphaUsed      bool   `json:"alpha_used"`             // whether part of the working copy is not opaque
	ICCProfile     string `json:"icc_profile,omitempty"`  // description of the embedded ICC profile (ICC.1, tag desc), or the name of its PNG chunk; at most 128 bytes
	Progressive    bool   `json:"progressive"`            // whether this is a progressive JPEG or an interlaced PNG
	JPEGQuality    int    `json:"jpeg_quality,omitempty"` // 1 to 100 on the scale of the IJG library, from the quantization tables; absent for a PNG and for tables that are not on that scale
	Animated       bool   `json:"animated"`               // whether this is a PNG with an animation (APNG, chunk acTL); the metadata describes its default image
	EntropyChecked string `json:"entropy_checked"`        // "full": every coded bit was decoded; "partial": of some scans, only the structure was checked
	FileSize       int64  `json:"file_size"`              // bytes of the original
	SHA256         string `json:"sha256"`                 // SHA-256 of the original, hex

	Exif *Exif `json:"exif,omitempty"`

	// The values below describe the working copy: the image upright and scaled down to
	// a long side of at most 320 pixels. Light, sharpness and hashes are computed on a
	// white background, colors from the pixels that are at least half opaque. Samples
	// are taken as sRGB; a profile is not applied.

	MeanColor    string       `json:"mean_color,omitempty"`      // "#rrggbb", mean of the sRGB samples; absent if no pixel is visible
	Colors       []ColorShare `json:"dominant_colors,omitempty"` // most frequent first, at most five; absent if no pixel is visible
	Saturation   float64      `json:"saturation"`                // Σ(max−min)/Σmax of the three samples of all pixels: HSV saturation weighted by value; 0 to 1, 4 decimals
	Colorfulness float64      `json:"colorfulness"`              // Hasler and Süsstrunk, Measuring colourfulness in natural images, 2003, M̂(3); 0 (gray) to about 190; 15 is slight, 109 extreme; 2 decimals
	Warmth       float64      `json:"warmth"`                    // (mean red − mean blue)/255; −1 (blue) to 1 (red and yellow), 4 decimals

	Brightness        float64 `json:"brightness"`         // mean Rec. 601 luma, 0 to 1, 4 decimals
	Contrast          float64 `json:"contrast"`           // standard deviation of luma (RMS contrast), 0 to 0.5, 4 decimals
	Entropy           float64 `json:"entropy"`            // Shannon entropy of the 256-bin luma histogram, bits, 0 to 8, 3 decimals
	ShadowsClipped    float64 `json:"shadows_clipped"`    // share of the pixels whose luma is at most 4 of 255; 0 to 1, 4 decimals
	HighlightsClipped float64 `json:"highlights_clipped"` // share of the pixels whose luma is at least 251 of 255; 0 to 1, 4 decimals
	Sharpness         float64 `json:"sharpness"`          // variance of the 4-neighbour Laplacian of 8-bit luma at the working size, 2 decimals

	// Flags are properties that a person would notice: "screenshot", "blank",
	// "blurred", "dark", "overexposed", "greyscale", "monochrome", in this order. Their
	// rules are in the analyzer and in docs/metadata.md. A doubtful flag is left out.
	Flags []string `json:"flags,omitempty"`

	BlurHash  string   `json:"blurhash"`           // https://blurha.sh, 4×3 components
	ThumbHash string   `json:"thumbhash"`          // https://evanw.github.io/thumbhash, Base64 of at most 25 bytes
	DHash     string   `json:"dhash"`              // 64-bit row difference hash, 16 hex digits; similar images differ in few bits
	PHash     string   `json:"phash"`              // 64-bit DCT perceptual hash, 16 hex digits; similar images differ in few bits
	Warnings  []string `json:"warnings,omitempty"` // harmless irregularities, at most 20 of 200 bytes
}

// The values of [Metadata.Composed].
const (
	ComposedTitle       = "title"
	ComposedDescription = "description"
	ComposedKeywords    = "keywords"
)

// ColorShare is a color and its share of the image.
type ColorShare struct {
	Hex   string     `json:"hex"`   // "#rrggbb", sRGB
	Share float64    `json:"share"` // 0 to 1, 4 decimals
	Name  string     `json:"name"`  // nearest named color of CSS Color Module Level 4, by ΔE*ab
	Lab   [3]float64 `json:"lab"`   // CIELAB, white point D65: L* 0 to 100, a* and b* about −128 to 127; 2 decimals
}

// Exif has the camera's EXIF data, as far as it could be read.
type Exif struct {
	CameraMake    string   `json:"camera_make,omitempty"`   // EXIF Make
	CameraModel   string   `json:"camera_model,omitempty"`  // EXIF Model
	LensModel     string   `json:"lens_model,omitempty"`    // EXIF LensModel
	Software      string   `json:"software,omitempty"`      // EXIF Software, or PNG Software
	TakenAt       string   `json:"taken_at,omitempty"`      // "2006-01-02T15:04:05", followed by "Z07:00" if the file has the zone
	ExposureTime  string   `json:"exposure_time,omitempty"` // seconds, as a reduced fraction: "1/250", "13/10", "30"
	FNumber       float64  `json:"f_number,omitempty"`      // 2 decimals
	ISO           int      `json:"iso,omitempty"`
	ExposureBias  *float64 `json:"exposure_bias,omitempty"`     // EV, −99 to 99, 2 decimals
	FocalLength   float64  `json:"focal_length,omitempty"`      // millimetres, 2 decimals
	FocalLength35 int      `json:"focal_length_35mm,omitempty"` // millimetres on 35 mm film
	FlashFired    *bool    `json:"flash_fired,omitempty"`       // EXIF Flash, bit 0
	GPS           *GPS     `json:"gps,omitempty"`
}

// GPS is a position in WGS 84. METADATA_GPS=coarse keeps 2 decimals (about 1 km) and no
// altitude; METADATA_GPS=drop removes the position.
type GPS struct {
	Latitude  float64  `json:"latitude"`           // degrees, north positive, −90 to 90, 6 decimals
	Longitude float64  `json:"longitude"`          // degrees, east positive, −180 to 180, 6 decimals
	Altitude  *float64 `json:"altitude,omitempty"` // metres above sea level, 1 decimal
}
