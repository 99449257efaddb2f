package pipeline

// Metadata is what the analyzer found in one image, and the record that is
// stored beside the processed file. Floats are rounded to the decimals stated,
// so that equal images give equal bytes. What an image does not tell is absent.
type Metadata struct {
	AnalyzerVersion string `json:"analyzer_version"`

	Format      string `json:"format"`      // "jpeg" or "png"
	Width       int    `json:"width"`       // pixels, as displayed (orientation applied)
	Height      int    `json:"height"`      // pixels, as displayed
	Orientation int    `json:"orientation"` // EXIF 2.32 tag 0x0112, 1 to 8; 1 when the file says nothing
	BitDepth    int    `json:"bit_depth"`   // bits per sample as stored: 1, 2, 4, 8 or 16
	ColorModel  string `json:"color_model"` // "gray", "ycbcr", "rgb", "cmyk" or "palette"
	HasAlpha    bool   `json:"has_alpha"`   // the file has an alpha channel or a transparent colour
	FileSize    int64  `json:"file_size"`   // bytes of the original
	SHA256      string `json:"sha256"`      // of the original, hex

	Exif *Exif `json:"exif,omitempty"`

	// The figures below are of the picture upright and scaled down to a long side
	// of at most 320 pixels, the working size. Light and hashes are of the picture
	// on white; colours are of the pixels that are at least half opaque.

	MeanColor  string       `json:"mean_color,omitempty"`      // "#rrggbb", mean of the sRGB samples; absent when nothing can be seen
	Colors     []ColorShare `json:"dominant_colors,omitempty"` // most frequent first, at most five; absent when nothing can be seen
	Brightness float64      `json:"brightness"`                // mean Rec. 601 luma, 0 to 1, 4 decimals
	Contrast   float64      `json:"contrast"`                  // standard deviation of luma (RMS contrast), 0 to 0.5, 4 decimals
	Sharpness  float64      `json:"sharpness"`                 // variance of the 4-neighbour Laplacian of 8-bit luma at the working size, 2 decimals
	BlurHash   string       `json:"blurhash"`                  // https://blurha.sh, 4×3 components
	PHash      string       `json:"phash"`                     // 64-bit DCT perceptual hash, 16 hex digits; similar pictures differ in few bits

	// EntropyChecked is "full" when all of the picture was decoded, and so checked.
	// It is "partial" for a progressive JPEG of which only the scans were that the
	// working size needs; of the others only the structure was seen.
	EntropyChecked string `json:"entropy_checked,omitempty"`

	Warnings []string `json:"warnings,omitempty"` // what was odd and did no harm, at most 20 of 200 bytes
}

// ColorShare is one colour and the part of the image that it covers.
type ColorShare struct {
	Hex   string  `json:"hex"`   // "#rrggbb"
	Share float64 `json:"share"` // 0 to 1, 4 decimals
}

// Exif is what the camera wrote, as far as it could be read. Texts are valid UTF-8
// without control characters, of at most 256 bytes.
type Exif struct {
	CameraMake   string  `json:"camera_make,omitempty"`
	CameraModel  string  `json:"camera_model,omitempty"`
	LensModel    string  `json:"lens_model,omitempty"`
	TakenAt      string  `json:"taken_at,omitempty"`      // "2006-01-02T15:04:05", with "Z07:00" after it when the file gives the zone
	ExposureTime string  `json:"exposure_time,omitempty"` // seconds, as a reduced fraction: "1/250", "13/10", "30"
	FNumber      float64 `json:"f_number,omitempty"`      // 2 decimals
	ISO          int     `json:"iso,omitempty"`
	FocalLength  float64 `json:"focal_length,omitempty"` // millimetres, 2 decimals
	GPS          *GPS    `json:"gps,omitempty"`
}

// GPS is a place in WGS 84.
type GPS struct {
	Latitude  float64  `json:"latitude"`           // degrees, north positive, 6 decimals
	Longitude float64  `json:"longitude"`          // degrees, east positive, 6 decimals
	Altitude  *float64 `json:"altitude,omitempty"` // metres above sea level, 1 decimal
}
